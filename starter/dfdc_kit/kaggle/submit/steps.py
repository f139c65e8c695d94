"""The steps of a submission. Each checks first whether it is done already, and records at once what it did."""

from collections.abc import Callable

from dfdc_kit.errors import KaggleError, SubmissionError, UsageError
from dfdc_kit.files import write_bytes
from dfdc_kit.formatting import format_bytes, plural
from dfdc_kit.kaggle.submit.attempt import Stage, attempts
from dfdc_kit.kaggle.submit.bundle import pack
from dfdc_kit.kaggle.submit.context import (
    HostedRun,
    KaggleDataset,
    KaggleSubmission,
    Quota,
    SubmitContext,
    log_text,
    poll,
)
from dfdc_kit.scoring.metric import displayed
from dfdc_kit.submission.validate import validate

RUNNING = {"queued", "running", "new_script", "cancel_requested"}
UNUSABLE = ("failed", "deleted")
LOG = "log.txt"


def upload(context: SubmitContext) -> None:
    """Upload the submission's files as a dataset, and wait until it can be attached."""
    bundle, file, ui = context.bundle, context.file, context.ui
    owner = file.attempt.owner or context.host.owner()
    file.update(owner=owner, kernel=f"{owner}/{bundle.slug}")
    _, folder = pack(bundle, owner, file.folder)
    if folder is None:
        return
    ref = bundle.dataset(owner)
    before = context.host.dataset(ref)
    version = before.version if before else 0
    if before and _has_these_files(context, ref, before):
        ui.info(f"dataset {ref}: version {version} already has these files")
        file.update(dataset=ref, dataset_sha256=bundle.files_sha256, dataset_version=version)
        return
    begun_at = file.attempt.dataset_version
    failed = before is not None and before.status in UNUSABLE
    if begun_at is None or version <= begun_at or failed:  # else an interrupted upload has arrived after all
        file.update(dataset=ref, dataset_version=version)
        size_bytes = sum(path.stat().st_size for path in bundle.files)
        ui.info(f"dataset {ref}: uploading {plural(len(bundle.files), 'file')}, {format_bytes(size_bytes)}")
        if before is None:
            context.host.create_dataset(ref, folder)
        else:
            context.host.add_version(ref, folder, f"{bundle.files_sha256[:12]} {file.attempt.marker}")
        begun_at = version
    ready = poll(context, lambda: _newer_version(context, ref, begun_at))
    file.update(dataset_sha256=bundle.files_sha256, dataset_version=ready.version)
    ui.info(f"dataset {ref}: version {ready.version} is ready")


def push(context: SubmitContext) -> None:
    """Save the program as a version of the notebook, which Kaggle then runs."""
    attempt = context.file.attempt
    kernel, _ = pack(context.bundle, attempt.owner, context.file.folder)
    pushed = context.host.push(attempt.kernel, kernel, context.limit_s)
    if pushed.problems:
        raise KaggleError(
            f"{attempt.kernel}, version {pushed.version}: {'; '.join(pushed.problems)}.",
            hint="Check the datasets and the competition on www.kaggle.com; then run the same command again.",
        )
    context.file.update(kernel_version=pushed.version, kernel_url=pushed.url)
    context.ui.info(f"notebook {attempt.kernel}: version {pushed.version} pushed, {pushed.url}")


def follow(context: SubmitContext) -> None:
    """Follow the hosted run to its end, with its log; then check its output file."""
    attempt = context.file.attempt
    version = attempt.kernel_version or 0
    hosted = poll(context, lambda: _ended_run(context, attempt.kernel, version))
    context.file.update(hosted_status=hosted.status)
    if hosted.status != "complete":
        ended = f"{hosted.status}{': ' + hosted.failure if hosted.failure else ''}"
        context.file.update(outcome=f"hosted run: {ended}")
        raise SubmissionError(
            f"The hosted run of {attempt.kernel}, version {version}, ended with {ended}. No submission was used.",
            command=f"less {context.file.folder / LOG}",
        )
    _check_output(context, attempt.kernel, version)


def submit(context: SubmitContext) -> None:
    """Submit the output, once: after an interrupted call, Kaggle is asked for the submission before another call."""
    file, attempt = context.file, context.file.attempt
    quota = context.host.quota(attempt.competition)
    if attempt.submissions_before is not None:
        found = _find_submission(context)
        if found is not None:
            context.ui.info(f"submission {found.reference} had arrived already")
            return file.update(reference=found.reference)
        if quota.total != attempt.submissions_before:
            file.update(outcome="unknown: it may have been submitted")
            raise KaggleError(
                f"A submission call was interrupted. The team has made {quota.total} submissions now and"
                f" {attempt.submissions_before} before, but none has the description {attempt.marker}.",
                hint=f"See https://www.kaggle.com/competitions/{attempt.competition}/submissions; to submit: --again",
            )
    if quota.left < 1:
        raise KaggleError(
            f"No submission is left today ({quota.today} made). The hosted run is complete and saved.",
            hint="The day ends at midnight UTC; run the same command again then.",
            reason="quota",
        )
    if not context.ui.confirm(_question(context, quota)):
        message = "Not submitted. The hosted run is complete and saved."
        raise UsageError(message, hint="Run the same command again to submit it.")
    name = context.challenge.submission.name
    file.update(submissions_before=quota.total)
    description = f"{attempt.message or attempt.submission} {attempt.marker}"
    reference = context.host.submit(attempt.competition, attempt.kernel, attempt.kernel_version or 0, name, description)
    file.update(reference=reference)
    return context.ui.info(f"submitted: {reference}; {quota.left - 1} left today")


def score(context: SubmitContext) -> None:
    """Wait for the score on the public leaderboard."""
    found = poll(context, lambda: _scored_submission(context))
    context.file.update(official_score=found.public_score, private_score=found.private_score)
    if found.status != "complete":
        context.file.update(outcome=f"error: {found.error or 'no details'}")
        raise SubmissionError(
            f"Kaggle could not score submission {found.reference}: {found.error or 'no details'}."
            " It counts as one of the day's submissions.",
            command=f"dfdc rehearse {context.bundle.folder}",
        )
    context.file.update(outcome="complete")


STEPS: tuple[tuple[Stage, Callable[[SubmitContext], None]], ...] = (
    (Stage.UPLOADED, upload),
    (Stage.PUSHED, push),
    (Stage.RAN, follow),
    (Stage.SUBMITTED, submit),
    (Stage.SCORED, score),
)


def _newer_version(context: SubmitContext, ref: str, than: int) -> KaggleDataset | None:
    """The dataset once a version after `than` is ready: before that, a notebook would get the old files."""
    seen = context.host.dataset(ref)
    if seen is None or seen.version <= than or seen.status not in ("ready", *UNUSABLE):
        context.ui.status(f"dataset {ref} is being processed")
        return None
    if seen.status != "ready":
        raise KaggleError(
            f"Kaggle could not process the dataset {ref}, version {seen.version}: {seen.status}.",
            hint="See it on www.kaggle.com, then run the same command again.",
        )
    return seen


def _has_these_files(context: SubmitContext, ref: str, newest: KaggleDataset) -> bool:
    """Whether an earlier attempt in this folder has uploaded the same files as the newest version."""
    wanted = (ref, context.bundle.files_sha256, newest.version)
    known = (file.attempt for file in attempts(context.runs))
    return newest.status == "ready" and any(
        (one.dataset, one.dataset_sha256, one.dataset_version) == wanted for one in known
    )


def _ended_run(context: SubmitContext, kernel: str, version: int) -> HostedRun | None:
    hosted = context.host.hosted_run(kernel, version)
    if hosted.status != "queued":
        _follow_log(context, kernel, version)
    if hosted.status in RUNNING:
        context.ui.status(f"notebook {kernel}, version {version}: {hosted.status}")
        return None
    return hosted


def _follow_log(context: SubmitContext, kernel: str, version: int) -> None:
    """Show and save what was printed since the last call."""
    path = context.file.folder / LOG
    known = path.read_text("utf-8") if path.is_file() else ""
    try:
        text = log_text(context.host.log(kernel, version))
    except KaggleError as error:  # the run continues without it
        return context.ui.status(f"no log for now: {error}")
    if text != known:
        write_bytes(path, text.encode("utf-8", "replace"))
        context.ui.log(text.removeprefix(known))
    return None


def _check_output(context: SubmitContext, kernel: str, version: int) -> None:
    """The output file exists and is valid; its ids are those of the public test, which may not be here."""
    name, file = context.challenge.submission.name, context.file
    if not context.host.fetch_output(kernel, version, name, file.folder):
        file.update(outcome="hosted run: no submission file")
        raise SubmissionError(
            f"The hosted run of {kernel}, version {version}, wrote no {name}. No submission was used.",
            command=f"less {file.folder / LOG}",
        )
    validation, table = validate(file.folder / name, context.challenge)
    if table is None:
        file.update(outcome="hosted run: its submission file is not valid")
        raise SubmissionError(
            f"{name} of the hosted run is not valid: {validation.errors[0].message} No submission was used.",
            command=f"dfdc validate {file.folder / name}",
        )
    file.update(output_rows=validation.rows)
    context.ui.info(f"the hosted run is complete; its {name} is valid, {plural(validation.rows, 'row')}")


def _question(context: SubmitContext, quota: Quota) -> str:
    attempt = context.file.attempt
    local = "" if attempt.local_score is None else f" Local score {displayed(attempt.local_score)}."
    local = f" Untested here: {attempt.untested_here}." if attempt.untested_here and not local else local
    which = f"{attempt.submission} ({attempt.kernel}, version {attempt.kernel_version})"
    return f"{quota.today} made today, {quota.left} left, failed ones count.{local} Submit {which}?"


def _find_submission(context: SubmitContext) -> KaggleSubmission | None:
    marker, number = context.file.attempt.marker, context.file.attempt.reference
    found = context.host.submissions(context.file.attempt.competition)
    return next((one for one in found if one.reference == number or marker in one.description), None)


def _scored_submission(context: SubmitContext) -> KaggleSubmission | None:
    found = _find_submission(context)
    if found is None or found.status == "pending":
        context.ui.status(f"submission {context.file.attempt.reference} is being scored")
        return None
    return found
