"""`dfdc run`: run a code submission under Kaggle's limits, score it, and print the summary."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.check import warn_of_findings
from dfdc_kit.cli.console import (
    DEFAULT_PROFILE,
    BackendOption,
    InputOption,
    JsonOption,
    ProfileOption,
    RequireOption,
    RunsOption,
    SubmissionArgument,
    err,
    out,
    plain,
    print_json,
    print_rows,
    shown,
    wanted,
    warn,
)

if TYPE_CHECKING:
    from dfdc_kit.report.run_report import RunReport

STYLES = {"": "", "warning": "yellow", "error": "red"}


def run(
    submission: SubmissionArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", "-d", metavar="DIR", help="Challenge data or a folder of videos; default: the bundled sample."
        ),
    ] = None,
    solution: Annotated[
        Path | None,
        typer.Option("--solution", "-s", metavar="PATH", help="Ground truth to score against, if it is not in DIR."),
    ] = None,
    profile: ProfileOption = DEFAULT_PROFILE,
    backend: BackendOption = "",
    require: RequireOption = "",
    runs: RunsOption = Path("runs"),
    inputs: InputOption = None,
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Stop as soon as the hidden test cannot fit into the time limit.")
    ] = False,
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="TEXT", help="A note for the report and `dfdc history`.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Hide what the submission prints.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a submission under Kaggle's limits, and score it.

    Exit code 0: complete and valid; 1: the submission is at fault; 3: this
    machine lacks something that Kaggle has, and the verdict names it.

    Examples:

        dfdc run baselines/frame-stats
        dfdc run my-detector --data ~/deepfake-detection-challenge
        dfdc run my-detector --profile kaggle-2020-cpu --message "32 frames"
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit import profiles
    from dfdc_kit.cli.progress import Screen
    from dfdc_kit.data.dataset import find_dataset, sample_mismatch
    from dfdc_kit.files import bundled
    from dfdc_kit.harness.request import RunRequest
    from dfdc_kit.harness.run import run as run_submission
    from dfdc_kit.report.verdicts import MEANINGS
    from dfdc_kit.sandbox import choose
    from dfdc_kit.submission.code import read_code_submission
    from dfdc_kit.submission.external_data import parse_input_options

    challenge = challenges.load()
    request = RunRequest(
        submission=read_code_submission(submission, parse_input_options(inputs or [])),
        dataset=find_dataset(data or bundled("sample_data"), challenge, solution),
        challenge=challenge,
        profile_name=profile,
        profile=profiles.load(profile),
        stop_early=stop_early,
        message=message,
    )
    if text := sample_mismatch(request.dataset, challenge):
        warn(text)
    warn_of_findings(request.submission, profile)
    sandbox = choose(backend, request.profile, wanted(require), warn)
    with Screen(err if as_json else out, show_output=not (quiet or as_json)) as screen:
        report = run_submission(request, sandbox, runs, screen, warn)
    if as_json:
        print_json(report)
    else:
        _show(report, runs / report.run_id)
    raise typer.Exit(MEANINGS[report.judgement.verdict].exit_code)


def _show(report: "RunReport", folder: Path) -> None:
    """Print the summary of a run on at most one screen of 80 columns."""
    from dfdc_kit.report.run_report import FILE, PAGE
    from dfdc_kit.report.summary import next_command, summarise

    folder = shown(folder)
    summary = summarise(report)
    colour = "green" if summary.complete else "red"
    out.print(
        f"\n[bold]{plain(summary.submission)}[/]: [bold {colour}]{summary.verdict}[/] ({summary.kaggle})",
        soft_wrap=True,
    )
    rows = [(message.name, message.text, STYLES[message.level]) for message in summary.reasons]
    for name, value, detail in summary.figures:
        fit = f"; {summary.fit}" if name == "time" and summary.fit else ""
        rows.append((name, f"{value} {detail}{fit}", ""))
    rows += [(message.name, message.text, STYLES[message.level]) for message in summary.messages]
    page = folder / PAGE
    rows.append(("report", str(page if page.is_file() else folder / FILE), ""))
    print_rows(rows)
    out.print(f"  next: {plain(next_command(report, folder))}", soft_wrap=True)  # one line, to be copied
