"""`dfdc robustness`: what degradations of the videos cost a submission."""

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
    print_next,
    shown,
    typed,
    wanted,
    warn,
)
from dfdc_kit.cli.data_make import KindsOption
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.report.robustness import RobustnessReport

EXIT_CODES = {"complete": 0, "failed": 1, "not-reproducible": 3, "interrupted": 130}
STYLES = {"worse": "red", "better": "green", "no clear difference": "dim"}


def robustness(
    submission: SubmissionArgument,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", metavar="DIR", help="Videos with labels; default: the bundled sample."),
    ] = None,
    solution: Annotated[
        Path | None,
        typer.Option("--solution", "-s", metavar="PATH", help="Ground truth to score against, if it is not in DIR."),
    ] = None,
    kinds: KindsOption = "",
    videos: Annotated[
        int | None, typer.Option("--videos", "-n", metavar="N", help="Use N of the videos, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of copies, drawing and intervals.")] = 0,
    profile: ProfileOption = DEFAULT_PROFILE,
    backend: BackendOption = "",
    require: RequireOption = "",
    attached: InputOption = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Compare a submission on clean and degraded videos.

    One run on the clean videos and one on the copies of each kind; paired
    differences of the loss with 95 % intervals, the worst first. The kinds are
    those of `dfdc data degrade`. The page robustness.html shows what was done
    to the videos. Exit code 1 if a run on degraded copies fails.

    Examples:

        dfdc robustness baselines/frame-stats
        dfdc robustness my-detector --data validation --kinds blur,15-fps
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit import profiles
    from dfdc_kit.cli.progress import Screen
    from dfdc_kit.data.dataset import find_dataset
    from dfdc_kit.data.making.degrade import select_kinds
    from dfdc_kit.files import bundled
    from dfdc_kit.harness.request import RunRequest
    from dfdc_kit.harness.robustness import robustness as compare
    from dfdc_kit.sandbox import choose
    from dfdc_kit.submission.code import read_code_submission
    from dfdc_kit.submission.external_data import parse_input_options

    chosen = select_kinds(kinds)
    challenge = challenges.load()
    request = RunRequest(
        submission=read_code_submission(submission, parse_input_options(attached or [])),
        dataset=find_dataset(data or bundled("sample_data"), challenge, solution),
        challenge=challenge,
        profile_name=profile,
        profile=profiles.load(profile),
    )
    warn_of_findings(request.submission, profile)
    console = err if as_json else out

    def announce(kind: str, count: int) -> None:
        console.print(f"[dim]run:[/] {kind}, {plural(count, 'video')}")

    with Screen(console, show_output=False) as screen:
        backend_of_run = choose(backend, request.profile, wanted(require))
        report = compare(
            request, backend_of_run, runs, screen, chosen, seed=seed, videos=videos, on_step=announce, warn=warn
        )
    print_json(report) if as_json else _show(report, runs / report.robustness_id)
    raise typer.Exit(EXIT_CODES[report.outcome])


def _show(report: "RobustnessReport", folder: Path) -> None:
    from rich.table import Table

    from dfdc_kit.report.robustness import PAGE, verdict_of
    from dfdc_kit.scoring.metric import displayed

    if report.clean.loss is None:
        out.print(
            f"[bold red]{report.clean.verdict}[/] on the clean videos: {plain(report.clean.kaggle)}", soft_wrap=True
        )
        return print_next(f"dfdc run {typed(Path(report.submission_folder))}")
    table = Table("degradation", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("loss", "difference", "95 % interval"):
        table.add_column(name, justify="right")
    table.add_column("")
    table.add_row("(clean)", displayed(report.clean.loss), "", "", "")
    for run in report.kinds:
        verdict = verdict_of(run)
        numbers = ("-", "-", "-")
        if run.loss is not None and run.difference is not None:
            interval = f"{run.interval.low:+.4f} to {run.interval.high:+.4f}" if run.interval else "unknown"
            numbers = (displayed(run.loss), f"{run.difference:+.4f}", interval)
        table.add_row(run.kind, *numbers, f"[{STYLES.get(verdict, 'bold red')}]{verdict}[/]")
    out.print(table)
    if report.caution:
        warn(report.caution)
    out.print(f"report  {plain(str(shown(folder / PAGE)))}", soft_wrap=True)
    failed = [run for run in report.kinds if run.loss is None]
    if failed:
        print_next(f"dfdc open {typed(folder / failed[0].folder)}")
    return None
