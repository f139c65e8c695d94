"""A hand-in from the first look to the score: taken up where it stopped, and never made twice by accident."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import UsageError
from dfdc_kit.files import hold_lock
from dfdc_kit.harness.rehearsal.record import RehearsalReport
from dfdc_kit.kaggle.submit.attempt import AttemptFile, SubmitAttempt, attempts, new_id, open_attempt
from dfdc_kit.kaggle.submit.bundle import kernel_bundle
from dfdc_kit.kaggle.submit.checks import WAIVED, Ready, Rehearsing, checked, worries
from dfdc_kit.kaggle.submit.context import Host, PollPolicy, SubmitContext, SubmitUI
from dfdc_kit.kaggle.submit.request import SubmitRequest, warnings_of
from dfdc_kit.kaggle.submit.steps import STEPS
from dfdc_kit.report.history import Event, Kind, note_aloud
from dfdc_kit.report.run_report import RunReport
from dfdc_kit.scoring.metric import displayed


@dataclass(frozen=True, kw_only=True)
class SubmitServices:
    """What a hand-in works with beside its order."""

    host: Callable[[], Host]  # signs in
    teller: SubmitUI
    pace: PollPolicy
    warn: Callable[[str], None]
    run_now: Callable[[], RunReport]
    rehearse_now: Callable[[], RehearsalReport]


def submit_code(
    wanted: SubmitRequest, runs: Path, rehearsing: Rehearsing, means: SubmitServices, *, again: bool
) -> SubmitAttempt:
    """Check, send, follow, submit, and wait for the score: what an earlier call has done is not done again.

    Signs in before the checks, which may take long. Raises KitError.
    """
    with alone(runs, f"code-{wanted.submission.name}"):
        book = unfinished(wanted, runs, means.warn, again=again)
        with alone(runs, f"notebook-{book.hand_in.slug if book else wanted.parcel.slug}"):
            host = means.host()
            quota = host.quota(wanted.challenge.slug)
            means.teller.say(f"submissions: {quota.today} made today, {quota.left} left; failed ones count")
            book = _begun(wanted, runs, rehearsing, means) if book is None else _taken_up(wanted, book, means)
            return carry_out(wanted, book, runs, host, means)


def _begun(wanted: SubmitRequest, runs: Path, rehearsing: Rehearsing, means: SubmitServices) -> AttemptFile:
    """A new hand-in, all checks passed."""
    for doubt in warnings_of(wanted):
        means.warn(doubt)
    ready = checked(wanted.submission, wanted.challenge, runs, rehearsing, means.run_now, means.rehearse_now)
    for worry in worries(ready.run) if ready.run else ():
        means.warn(worry)
    if ready.rehearsal == WAIVED:
        means.warn("handed in without a rehearsal, as asked")
    return open_attempt(runs, new_attempt(wanted, ready))


def _taken_up(wanted: SubmitRequest, book: AttemptFile, means: SubmitServices) -> AttemptFile:
    """One that was begun before. Only its message can still be changed."""
    seen = book.hand_in
    means.teller.say(f"going on with {seen.hand_in_id}; last step done: {seen.stage.value}")
    if (seen.slug, seen.accelerator) != (wanted.parcel.slug, wanted.parcel.accelerator):
        means.warn(f"it goes on as it was begun: notebook {seen.slug}, accelerator {seen.accelerator or 'none'}")
    if wanted.message:
        book.note(message=wanted.message)
    return book


def unfinished(wanted: SubmitRequest, runs: Path, warn: Callable[[str], None], *, again: bool) -> AttemptFile | None:
    """The hand-in of this very code that goes on; None if a new one is to begin.

    Raises UsageError if a submission was spent on this code already, unless `again`.
    """
    same = earlier_attempts(wanted, runs)
    for book in same:
        note_aloud(runs, _event(book.hand_in, wanted.challenge), warn)  # a call that was killed may not have come to it
        if not book.hand_in.over:
            return book
    spent = next((book.hand_in for book in same if book.hand_in.spent), None)
    if spent is not None and not again:
        score = "" if spent.official_score is None else f", public score {displayed(spent.official_score)}"
        raise UsageError(
            f"This very code was handed in already ({spent.hand_in_id}: {spent.over}{score}). Nothing was sent.",
            hint="To spend another submission on it: --again",
        )
    return None


def earlier_attempts(wanted: SubmitRequest, runs: Path) -> list[AttemptFile]:
    """All hand-ins of this very code, newest first."""
    wanted_is = (wanted.submission.sha256(), wanted.challenge.slug)
    return [book for book in attempts(runs) if (book.hand_in.submission_sha256, book.hand_in.competition) == wanted_is]


def new_attempt(wanted: SubmitRequest, ready: Ready) -> SubmitAttempt:
    """The record of a hand-in whose checks have passed."""
    hand_in_id, started = new_id(wanted.submission.name)
    run = ready.run
    score = run.score if run else None
    return SubmitAttempt(
        hand_in_id=hand_in_id,
        started=started,
        submission=wanted.submission.name,
        submission_sha256=wanted.submission.sha256(),
        competition=wanted.challenge.slug,
        slug=wanted.parcel.slug,
        accelerator=wanted.parcel.accelerator,
        message=wanted.message,
        profile_name=wanted.profile_name,
        local_run=run.run_id if run else "",
        local_score=score.value if score else None,
        local_rows=score.rows if score else None,
        local_data=(run.solution or run.data_folder) if run else "",
        rehearsal=ready.rehearsal,
    )


def carry_out(wanted: SubmitRequest, book: AttemptFile, runs: Path, host: Host, means: SubmitServices) -> SubmitAttempt:
    """Take every step that is not done yet. The history is told of each, however it ends.

    Raises KitError; the next call goes on at the step that failed.
    """
    seen = book.hand_in  # of an earlier call, perhaps, with another name and accelerator
    wall_s = wanted.profile.limits.wall_time_s
    desk = SubmitContext(
        host=host,
        book=book,
        challenge=wanted.challenge,
        parcel=kernel_bundle(wanted.submission, wanted.challenge.slug, seen.accelerator, seen.slug),
        teller=means.teller,
        pace=means.pace,
        runs=runs,
        limit_s=None if wall_s is None else int(wall_s),
    )
    for stage, step in STEPS:
        if not book.hand_in.has(stage):
            try:
                step(desk)
                book.note(stage=stage)
            finally:
                note_aloud(runs, _event(book.hand_in, wanted.challenge), means.warn)
    return book.hand_in


def alone(runs: Path, name: str) -> AbstractContextManager[None]:
    """Only one process at a time hands in this code, or to this notebook. Raises UsageError or OutputError."""
    path = runs / f".hand-in-{name}.lock"
    return hold_lock(path, f"Another process is at it at this moment: {path} is locked", "--out")


def _event(one: SubmitAttempt, challenge: Challenge) -> Event:
    return Event(
        kind=Kind.HAND_IN,
        name=one.hand_in_id,
        happened=one.started,
        submission=one.submission,
        submission_sha256=one.submission_sha256,
        outcome=one.over or one.stage.value,
        local_score=one.local_score,
        local_rows=one.local_rows,
        official_score=one.official_score,
        metric=challenge.metric.name,
        data=one.local_data,
        profile=one.profile_name,
        folder=one.hand_in_id,
        reference=one.reference,
    )
