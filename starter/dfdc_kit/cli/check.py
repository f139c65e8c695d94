"""`dfdc check`: read a submission's code, and report what would fail, before anything runs."""

from typing import TYPE_CHECKING

import typer

from dfdc_kit.cli.console import (
    DEFAULT_PROFILE,
    JsonOption,
    ProfileOption,
    SubmissionArgument,
    out,
    plain,
    print_json,
    say,
    warn,
)
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.submission.check import CodeCheck
    from dfdc_kit.submission.code import CodeSubmission

COLOURS = {"error": "bold red", "warning": "bold yellow", "note": "bold"}


def check(
    submission: SubmissionArgument, profile: ProfileOption = DEFAULT_PROFILE, as_json: JsonOption = False
) -> None:
    """Check a submission's code without running it.

    Imports against this machine and the hosted image, paths that nothing
    provides, files written elsewhere, another name for submission.csv, use of
    the internet, CUDA without a GPU, fixed numbers of videos, and more.
    Exit code 1 if there is an error; `dfdc run` shows the same as warnings.

    Examples:

        dfdc check my-detector
        dfdc check notebook.ipynb --profile kaggle-today-gpu --json
    """
    from dfdc_kit.submission.check import Level
    from dfdc_kit.submission.code import read_code_submission

    report = run_check(read_code_submission(submission), profile)
    print_json(report) if as_json else _show(report)
    if any(finding.level is Level.ERROR for finding in report.findings):
        raise typer.Exit(1)


def run_check(submission: "CodeSubmission", profile: str) -> "CodeCheck":
    """The findings about a submission, compared with what a run under the profile `profile` mounts."""
    from dfdc_kit import challenge as challenges
    from dfdc_kit import profiles
    from dfdc_kit.submission.check import check_code

    return check_code(submission, challenges.load(), profiles.load(profile), profile_name=profile)


def warn_of_findings(submission: "CodeSubmission", profile: str, most: int = 5) -> None:
    """Print the findings that are no notes as warnings, on standard error: the first step of a run."""
    report = run_check(submission, profile)
    found = report.warnings
    for finding in found[:most]:
        warn(f"{finding.where}: {finding.reason} Kaggle: {finding.on_kaggle.value}. {finding.fix}")
    if len(found) > most:
        warn(f"{len(found) - most} more: dfdc check {report.submission}")


def _show(report: "CodeCheck") -> None:
    for finding in report.findings:
        style = COLOURS[finding.level.value]
        out.print(f"[{style}]{finding.level.value}[/] [bold]{finding.code}[/] {plain(finding.where)}", soft_wrap=True)
        say(plain(finding.reason), indent=2)
        say(f"[dim]fix:[/] {plain(finding.fix)}", indent=2)
        say(f"[dim]Kaggle:[/] {finding.on_kaggle.value}", indent=2)
    counts = {level: sum(finding.level.value == level for finding in report.findings) for level in COLOURS}
    words = ", ".join(plural(count, level) for level, count in counts.items() if count)
    files = plural(len(report.files), "file")
    sign = "[bold red]ERRORS FOUND[/]" if counts["error"] else "[bold green]OK[/]"
    say(f"{sign}: {words or 'nothing found'} in {files} ({plain(', '.join(report.files))})")
