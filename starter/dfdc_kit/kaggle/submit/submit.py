"""A submission from the first check to the score: resumed where it stopped, and never made twice by accident."""

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
from dfdc_kit.kaggle.submit.checks import (
    SKIPPED,
    CheckedCode,
    RehearsalPolicy,
    check_code,
    run_warnings,
)
from dfdc_kit.kaggle.submit.context import Host, PollPolicy, SubmitContext, SubmitUI
from dfdc_kit.kaggle.submit.request import SubmitRequest, request_warnings
from dfdc_kit.kaggle.submit.steps import STEPS
from dfdc_kit.report.history import Event, Kind, record_or_warn
from dfdc_kit.report.run_report import RunReport
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.scoring.metric import displayed


@dataclass(frozen=True, kw_only=True)
class SubmitServices:
    """What a submission works with: Kaggle, the user, local runs."""

    host: Callable[[], Host]  # signs in
    ui: SubmitUI
    poll: PollPolicy
    warn: Callable[[str], None]
    run_now: Callable[[], RunReport]
    rehearse_now: Callable[[], RehearsalReport]


def submit_code(
    request: SubmitRequest, runs: Path, policy: RehearsalPolicy, services: SubmitServices, *, again: bool
) -> SubmitAttempt:
    """Check, upload, push, follow, submit, and wait for the score; what an earlier call has done is not repeated.

    Signs in before the checks, which may take long. Raises KitError.
    """
    with submit_lock(runs, f"code-{request.submission.name}", services.warn):
        file = unfinished_attempt(request, runs, services.warn, again=again)
        slug = file.attempt.slug if file else request.bundle.slug
        with submit_lock(runs, f"notebook-{slug}", services.warn):
            host = services.host()
            quota = host.quota(request.challenge.slug)
            services.ui.info(f"submissions: {quota.today} made today, {quota.left} left; failed ones count")
            if file is None:
                file = _begin(request, runs, policy, services)
            else:
                _resume(request, file, services)
            return run_steps(request, file, runs, host, services)


def _begin(request: SubmitRequest, runs: Path, policy: RehearsalPolicy, services: SubmitServices) -> AttemptFile:
    """A new attempt, after all checks."""
    for warning in request_warnings(request):
        services.warn(warning)
    code = check_code(
        request.submission,
        request.challenge,
        runs,
        policy,
        services.run_now,
        services.rehearse_now,
        untested_here=request.untested_here,
    )
    for warning in run_warnings(code.run) if code.run else ():
        services.warn(warning)
    if code.run and code.run.judgement.verdict is Verdict.NOT_REPRODUCIBLE:
        services.warn(f"submitted untested, as asked ({request.untested_here}): {code.run.judgement.why}")
    elif code.rehearsal == SKIPPED:
        services.warn("submitted without a rehearsal, as asked")
    return open_attempt(runs, new_attempt(request, code))


def _resume(request: SubmitRequest, file: AttemptFile, services: SubmitServices) -> None:
    """An attempt that was begun before. Only its message can still change."""
    attempt = file.attempt
    services.ui.info(f"resuming {attempt.attempt_id}; last completed step: {attempt.stage.value}")
    if (attempt.slug, attempt.accelerator) != (request.bundle.slug, request.bundle.accelerator):
        accelerator = attempt.accelerator or "none"
        services.warn(f"resumed as it was begun: notebook {attempt.slug}, accelerator {accelerator}")
    if request.message:
        file.update(message=request.message)


def unfinished_attempt(
    request: SubmitRequest, runs: Path, warn: Callable[[str], None], *, again: bool
) -> AttemptFile | None:
    """The attempt for exactly this code that can be resumed; None if a new one is to begin.

    Raises UsageError if a submission was already used on this code, unless `again`.
    """
    same = earlier_attempts(request, runs)
    for file in same:
        record_or_warn(runs, _event(file.attempt, request.challenge), warn)  # a killed call may not have recorded it
        if not file.attempt.outcome:
            return file
    used = next((file.attempt for file in same if file.attempt.used_quota), None)
    if used is not None and not again:
        score = "" if used.official_score is None else f", public score {displayed(used.official_score)}"
        message = f"This code was submitted already ({used.attempt_id}: {used.outcome}{score}). Nothing was sent."
        raise UsageError(message, hint="To use another submission on it, add --again.")
    return None


def earlier_attempts(request: SubmitRequest, runs: Path) -> list[AttemptFile]:
    """All attempts for exactly this code, newest first."""
    wanted = (request.submission.sha256(), request.challenge.slug)
    return [file for file in attempts(runs) if (file.attempt.submission_sha256, file.attempt.competition) == wanted]


def new_attempt(request: SubmitRequest, code: CheckedCode) -> SubmitAttempt:
    """The record of an attempt whose checks have passed."""
    attempt_id, started = new_id(request.submission.name)
    run = code.run
    score = run.score if run else None
    return SubmitAttempt(
        attempt_id=attempt_id,
        started=started,
        submission=request.submission.name,
        submission_sha256=request.submission.sha256(),
        competition=request.challenge.slug,
        slug=request.bundle.slug,
        accelerator=request.bundle.accelerator,
        message=request.message,
        profile_name=request.profile_name,
        local_run=run.run_id if run else "",
        local_score=score.value if score else None,
        local_rows=score.rows if score else None,
        local_data=(run.solution or run.data_folder) if run else "",
        rehearsal=code.rehearsal,
        untested_here=request.untested_here,
    )


def run_steps(
    request: SubmitRequest, file: AttemptFile, runs: Path, host: Host, services: SubmitServices
) -> SubmitAttempt:
    """Take every step that is not completed yet; each is written to the history, however it ends.

    Raises KitError; the next call resumes at the step that failed.
    """
    attempt = file.attempt  # of an earlier call, perhaps, with another slug and accelerator
    wall_s = request.profile.limits.wall_time_s
    context = SubmitContext(
        host=host,
        file=file,
        challenge=request.challenge,
        bundle=kernel_bundle(request.submission, request.challenge.slug, attempt.accelerator, attempt.slug),
        ui=services.ui,
        poll=services.poll,
        runs=runs,
        limit_s=None if wall_s is None else int(wall_s),
    )
    for stage, step in STEPS:
        if not file.attempt.has(stage):
            try:
                step(context)
                file.update(stage=stage)
            finally:
                record_or_warn(runs, _event(file.attempt, request.challenge), services.warn)
    return file.attempt


def submit_lock(runs: Path, name: str, warn: Callable[[str], None]) -> AbstractContextManager[None]:
    """Only one process at a time submits this code, or to this notebook. Raises UsageError or OutputError."""
    what = name.partition("-")[0]
    busy = f"Another `dfdc submit` is running for this {what}"
    return hold_lock(runs / f".submit-{name}.lock", busy, "--out", warn)


def _event(attempt: SubmitAttempt, challenge: Challenge) -> Event:
    return Event(
        kind=Kind.SUBMISSION,
        name=attempt.attempt_id,
        happened=attempt.started,
        submission=attempt.submission,
        submission_sha256=attempt.submission_sha256,
        outcome=attempt.outcome or attempt.stage.value,
        local_score=attempt.local_score,
        local_rows=attempt.local_rows,
        official_score=attempt.official_score,
        metric=challenge.metric.name,
        data=attempt.local_data,
        profile=attempt.profile_name,
        folder=attempt.attempt_id,
        reference=attempt.reference,
    )
