"""Runs that are recorded: done, saved, and then added to the history beside them."""

from collections.abc import Callable
from pathlib import Path

from dfdc_kit.errors import OutputError
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.report import html
from dfdc_kit.report.history import note_aloud, of_run
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
