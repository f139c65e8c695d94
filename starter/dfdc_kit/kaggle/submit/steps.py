"""The steps of a hand-in. Each looks first whether it is done already, and writes down what it did at once."""

from collections.abc import Callable

from dfdc_kit.errors import KaggleError, SubmissionError, UsageError
from dfdc_kit.files import write_bytes
from dfdc_kit.formatting import plural
from dfdc_kit.kaggle.submit.attempt import Stage, attempts
from dfdc_kit.kaggle.submit.bundle import pack
from dfdc_kit.kaggle.submit.context import DataSet, KaggleSubmission, Quota, Session, SubmitContext, log_text, until
from dfdc_kit.scoring.metric import displayed
from dfdc_kit.submission.validate import validate

GOES_ON = {"queued", "running", "new_script", "cancel_requested"}
UNUSABLE = ("failed", "deleted")
LOG = "log.txt"


def upload(desk: SubmitContext) -> None:
    """Bring the files of the submission to Kaggle as a data set, and wait until it can be attached."""
    parcel, book = desk.parcel, desk.book
    owner = book.hand_in.owner or desk.host.owner()
    book.note(owner=owner, kernel=f"{owner}/{parcel.slug}")
    _, folder = pack(parcel, owner, book.folder)
    if folder is None:
        return
    ref = parcel.data_set(owner)
    before = desk.host.data_set(ref)
    version = before.version if before else 0
    if before and _holds_them_already(desk, ref, before):
        desk.teller.say(f"data set {ref}: version {version} holds these files already")
        book.note(data_set=ref, data_set_sha256=parcel.files_sha256, data_set_version=version)
        return
    began_at = book.hand_in.data_set_version
    failed = before is not None and before.status in UNUSABLE
    if began_at is None or version <= began_at or failed:  # else an interrupted upload has arrived after all
        book.note(data_set=ref, data_set_version=version)
        size_bytes = sum(file.stat().st_size for file in parcel.files)
        desk.teller.say(f"data set {ref}: uploading {plural(len(parcel.files), 'file')}, {size_bytes:,} bytes")
        if before is None:
            desk.host.create_data_set(ref, folder)
        else:
            desk.host.add_version(ref, folder, f"{parcel.files_sha256[:12]} {book.hand_in.marker}")
        began_at = version
    ready = until(desk, lambda: _newer(desk, ref, began_at))
    book.note(data_set_sha256=parcel.files_sha256, data_set_version=ready.version)
    desk.teller.say(f"data set {ref}: version {ready.version} is ready")


def push(desk: SubmitContext) -> None:
    """Save the program as a version of the notebook, which Kaggle then runs."""
    hand_in = desk.book.hand_in
    kernel, _ = pack(desk.parcel, hand_in.owner, desk.book.folder)
    pushed = desk.host.push(hand_in.kernel, kernel, desk.limit_s)
    if pushed.faults:
        raise KaggleError(
            f"{hand_in.kernel}, version {pushed.version}: {'; '.join(pushed.faults)}.",
            hint="Look at the data set and the competition on www.kaggle.com; then run the same command again",
        )
    desk.book.note(kernel_version=pushed.version, kernel_url=pushed.url)
    desk.teller.say(f"notebook {hand_in.kernel}: version {pushed.version} pushed, {pushed.url}")


def follow(desk: SubmitContext) -> None:
    """Follow the hosted run to its end, with its log; then look at the file that it left."""
    hand_in = desk.book.hand_in
    version = hand_in.kernel_version or 0
    session = until(desk, lambda: _ended(desk, hand_in.kernel, version))
    desk.book.note(hosted_status=session.status)
    if session.status != "complete":
        said = f"{session.status}{': ' + session.failure if session.failure else ''}"
        desk.book.note(over=f"hosted run: {said}")
        raise SubmissionError(
            f"The hosted run of {hand_in.kernel}, version {version}, ended with {said}. No submission was spent.",
            hint=f"less {desk.book.folder / LOG}",
        )
    _check_output(desk, hand_in.kernel, version)


def submit(desk: SubmitContext) -> None:
    """Spend one submission, once: a call that was interrupted is looked for at Kaggle, never made again blindly."""
    book, hand_in = desk.book, desk.book.hand_in
    quota = desk.host.quota(hand_in.competition)
    if hand_in.submissions_before is not None:
        found = _listed(desk)
        if found is not None:
            desk.teller.say(f"submission {found.reference} was received already")
            return book.note(reference=found.reference)
        if quota.total != hand_in.submissions_before:
            book.note(over="unknown: it may have been submitted")
            raise KaggleError(
                f"A call that spends a submission was interrupted; the team has made {quota.total} submissions now,"
                f" {hand_in.submissions_before} before, and none of those listed bears {hand_in.marker}.",
                hint=f"See https://www.kaggle.com/competitions/{hand_in.competition}/submissions; to send it: --again",
            )
    if quota.left < 1:
        raise KaggleError(
            f"No submission is left today ({quota.today} made). The notebook has run and waits.",
            hint="The day ends at midnight UTC; run the same command again then",
            reason="quota",
        )
    if not desk.teller.agreed(_question(desk, quota)):
        raise UsageError("Nothing was submitted. The notebook has run and waits.", hint="Run the same command again")
    name = desk.challenge.submission.name
    book.note(submissions_before=quota.total)
    description = f"{hand_in.message or hand_in.submission} {hand_in.marker}"
    reference = desk.host.submit(hand_in.competition, hand_in.kernel, hand_in.kernel_version or 0, name, description)
    book.note(reference=reference)
    return desk.teller.say(f"submitted: {reference}; {quota.left - 1} left today")


def score(desk: SubmitContext) -> None:
    """Wait for the score of the public leaderboard."""
    sent = until(desk, lambda: _scored(desk))
    desk.book.note(official_score=sent.public_score, private_score=sent.private_score)
    if sent.status != "complete":
        desk.book.note(over=f"error: {sent.error or 'no details are shown'}")
        raise SubmissionError(
            f"Kaggle could not score submission {sent.reference}: {sent.error or 'no details are shown'}."
            " It counts as one of the day's.",
            hint=f"dfdc rehearse {desk.parcel.folder}",
        )
    desk.book.note(over="complete")


STEPS: tuple[tuple[Stage, Callable[[SubmitContext], None]], ...] = (
    (Stage.UPLOADED, upload),
    (Stage.PUSHED, push),
    (Stage.RAN, follow),
    (Stage.SUBMITTED, submit),
    (Stage.SCORED, score),
)


def _newer(desk: SubmitContext, ref: str, than: int) -> DataSet | None:
    """The data set once a version after `than` is ready: before that, a notebook would be given the old files."""
    seen = desk.host.data_set(ref)
    if seen is None or seen.version <= than or seen.status not in ("ready", *UNUSABLE):
        desk.teller.waiting(f"data set {ref} is being processed")
        return None
    if seen.status != "ready":
        raise KaggleError(
            f"Kaggle could not process the data set {ref}, version {seen.version}: {seen.status}.",
            hint="See it on www.kaggle.com, then run the same command again",
        )
    return seen


def _holds_them_already(desk: SubmitContext, ref: str, there: DataSet) -> bool:
    """Whether the newest version is known, from an earlier hand-in of this folder, to hold the same files."""
    return there.status == "ready" and any(
        (one.data_set, one.data_set_sha256, one.data_set_version) == (ref, desk.parcel.files_sha256, there.version)
        for one in (book.hand_in for book in attempts(desk.runs))
    )


def _ended(desk: SubmitContext, kernel: str, version: int) -> Session | None:
    session = desk.host.session(kernel, version)
    if session.status != "queued":
        _follow_log(desk, kernel, version)
    if session.status in GOES_ON:
        desk.teller.waiting(f"notebook {kernel}, version {version}: {session.status}")
        return None
    return session


def _follow_log(desk: SubmitContext, kernel: str, version: int) -> None:
    """Show and keep what was printed since the last look."""
    path = desk.book.folder / LOG
    known = path.read_text("utf-8") if path.is_file() else ""
    try:
        text = log_text(desk.host.log(kernel, version))
    except KaggleError as fault:  # the run goes on without it
        return desk.teller.waiting(f"no log for now: {fault}")
    if text != known:
        write_bytes(path, text.encode("utf-8", "replace"))
        desk.teller.printed(text.removeprefix(known))
    return None


def _check_output(desk: SubmitContext, kernel: str, version: int) -> None:
    """The file that would be handed in is there and valid; its ids are the public videos', which we need not have."""
    name = desk.challenge.submission.name
    if not desk.host.fetch_output(kernel, version, name, desk.book.folder):
        desk.book.note(over="hosted run: no submission file")
        raise SubmissionError(
            f"The hosted run of {kernel}, version {version}, left no {name}. No submission was spent.",
            hint=f"less {desk.book.folder / LOG}",
        )
    validation, table = validate(desk.book.folder / name, desk.challenge)
    if table is None:
        desk.book.note(over="hosted run: its submission file is not valid")
        raise SubmissionError(
            f"{name} of the hosted run is not valid: {validation.errors[0].message} No submission was spent.",
            hint=f"dfdc validate {desk.book.folder / name}",
        )
    desk.book.note(output_rows=validation.rows)
    desk.teller.say(f"the hosted run is complete; its {name} is valid, {plural(validation.rows, 'row')}")


def _question(desk: SubmitContext, quota: Quota) -> str:
    hand_in = desk.book.hand_in
    local = "" if hand_in.local_score is None else f" Local score {displayed(hand_in.local_score)}."
    which = f"{hand_in.submission} ({hand_in.kernel}, version {hand_in.kernel_version})"
    return f"{quota.today} made today, {quota.left} left, failed ones count.{local} Submit {which}?"


def _listed(desk: SubmitContext) -> KaggleSubmission | None:
    marker, number = desk.book.hand_in.marker, desk.book.hand_in.reference
    sent = desk.host.submissions(desk.book.hand_in.competition)
    return next((one for one in sent if one.reference == number or marker in one.description), None)


def _scored(desk: SubmitContext) -> KaggleSubmission | None:
    sent = _listed(desk)
    if sent is None or sent.status == "pending":
        desk.teller.waiting(f"submission {desk.book.hand_in.reference} is being scored")
        return None
    return sent
