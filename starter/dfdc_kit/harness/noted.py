"""Runs and rehearsals that are remembered: done, saved, and then noted in the history beside them."""

from collections.abc import Callable
from pathlib import Path

from dfdc_kit.errors import OutputError
from dfdc_kit.harness.rehearsal.record import RehearsalReport
from dfdc_kit.harness.rehearsal.rehearse import RehearsalRequest, rehearse
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.report import html
from dfdc_kit.report.history import Event, Kind, note_aloud, of_run
from dfdc_kit.report.run_report import PAGE, RunReport
from dfdc_kit.sandbox.base import SandboxBackend


def run_noted(
    request: RunRequest, backend: SandboxBackend, runs: Path, audience: RunListener, warn: Callable[[str], None]
) -> RunReport:
    """`harness.run.run`, then its html, and a row in the history of `runs`; `warn` is told what cannot be written."""
    report = run(request, backend, runs, audience)
    note_aloud(runs, of_run(report), warn)
    try:
        html.write(report, runs / report.run_id)
    except OutputError as fault:
        warn(f"No {PAGE}: {fault}")
    return report


def rehearse_noted(
    request: RehearsalRequest,
    backend: SandboxBackend,
    runs: Path,
    audience: RunListener,
    on_step: Callable[[str, int, float], None],
    warn: Callable[[str], None],
) -> RehearsalReport:
    """`harness.rehearsal.rehearse.rehearse`, then one row for the rehearsal as a whole, none for its runs."""
    report = rehearse(request, backend, runs, audience, on_step)
    note_aloud(runs, _of_rehearsal(report), warn)
    return report


def _of_rehearsal(report: RehearsalReport) -> Event:
    return Event(
        kind=Kind.REHEARSAL,
        name=report.rehearsal_id,
        happened=report.started,
        submission=report.submission,
        submission_sha256=report.submission_sha256,
        outcome=report.outcome,
        profile=report.profile_name,
        wall_time_s=sum(step.wall_time_s for step in report.steps),
        folder=report.rehearsal_id,
    )
