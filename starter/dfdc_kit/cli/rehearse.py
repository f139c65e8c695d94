"""`dfdc rehearse`: run a code submission as the hidden rerun would, on inputs that broke reruns of the challenge."""

import textwrap
from itertools import groupby
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
    say,
    shown,
    wanted,
    warn,
)
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.harness.rehearsal.record import Comparison, RehearsalFinding, RehearsalReport

MAX_LIMIT_S = 1e9
COLOURS = {
    "error": "red",
    "warning": "yellow",
    "ok": "green",
    "unknown": "dim",
}  # in the summary's order
VERDICTS = {
    "passed": "[bold green]PASSED[/]",
    "failed": "[bold red]FAILED[/]",
    "interrupted": "[bold yellow]INTERRUPTED[/]",
    "not-reproducible": "[bold yellow]NOT REPRODUCIBLE HERE[/]",
}
OWN_CODE = "/kaggle/src/"
LOG_LINES = 4  # printed of a traceback; the report has more
NO_VIDEO_OPENED = (
    "the submission opened no video, so the hard inputs tested nothing but file names and rows; "
    "rehearse again once it reads videos"
)
EXIT_CODES = {"passed": 0, "failed": 1, "not-reproducible": 3, "interrupted": 130}


def rehearse(
    submission: SubmissionArgument,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", metavar="DIR", help="Ordinary clips to start from; default: the bundled sample."),
    ] = None,
    videos: Annotated[
        int | None,
        typer.Option("--videos", "-n", metavar="N", help="Number of ordinary clips in the first run (hard links)."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CODE", help="Only this hard input; can be repeated. Default: all."),
    ] = None,
    profile: ProfileOption = DEFAULT_PROFILE,
    backend: BackendOption = "",
    require: RequireOption = "",
    attached: InputOption = None,
    limit: Annotated[
        float | None,
        typer.Option(
            "--limit",
            metavar="SECONDS",
            help="Time after which a run counts as hanging; default: from the ordinary clips.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed for names, order and random bytes.")] = 0,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Run a submission on hard inputs, as the rerun might.

    Other file names, another number of videos, broken and unusual videos, the
    same input twice, another order. Hard inputs are generated: empty,
    truncated, without index, random bytes, without sound or picture, one
    frame, rotated, 15 fps, variable rate, small, odd sizes, 4K, long, black,
    no person, two people, HEVC, unusual names. Exit code 1 if it fails.

    Examples:

        dfdc rehearse baselines/frame-stats
        dfdc rehearse my-detector --only zero-bytes --only garbage --limit 30
        dfdc rehearse my-detector --videos 4000 --profile kaggle-2020-cpu
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit import profiles
    from dfdc_kit.cli.progress import Screen
    from dfdc_kit.data.dataset import find_dataset
    from dfdc_kit.errors import UsageError
    from dfdc_kit.files import bundled
    from dfdc_kit.harness.rehearsal.hard_inputs import select
    from dfdc_kit.harness.rehearsal.rehearse import RehearsalRequest
    from dfdc_kit.harness.rehearsal.rehearse import rehearse as run_rehearsal
    from dfdc_kit.sandbox import choose
    from dfdc_kit.submission.code import read_code_submission
    from dfdc_kit.submission.external_data import parse_input_options

    if limit is not None and not 0 < limit < MAX_LIMIT_S:
        raise UsageError(f"--limit {limit:g}: expected a number of seconds above 0.", hint="For example: --limit 30")
    challenge = challenges.load()
    request = RehearsalRequest(
        submission=read_code_submission(submission, parse_input_options(attached or [])),
        clips=find_dataset(data or bundled("sample_data"), challenge).videos,
        challenge=challenge,
        profile_name=profile,
        profile=profiles.load(profile),
        videos=videos,
        limit_s=limit,
        seed=seed,
        inputs=select(only or []),
    )
    warn_of_findings(request.submission, profile)
    console = err if as_json else out

    def announce(what: str, videos: int, limit_s: float) -> None:
        console.print(f"[dim]run:[/] {plain(what)}, {plural(videos, 'video')}, time limit {limit_s:.0f} s")

    with Screen(console, show_output=False) as screen:
        chosen_backend = choose(backend, request.profile, wanted(require), warn)
        report = run_rehearsal(request, chosen_backend, runs, screen, warn, announce)
    if as_json:
        print_json(report)
    else:
        _show(report, runs / report.rehearsal_id)
    raise typer.Exit(EXIT_CODES[report.outcome])


def _show(report: "RehearsalReport", folder: Path) -> None:
    """Print the summary: verdict, outcome of each input, one block for each kind of fault. folder: the rehearsal's."""
    from dfdc_kit.harness.rehearsal.record import FILE, RehearsalSeverity

    error, warning, unknown = RehearsalSeverity.ERROR, RehearsalSeverity.WARNING, RehearsalSeverity.UNKNOWN
    time_s = sum(step.wall_time_s for step in report.steps)
    counts = f"{plural(report.count(error), 'error')}, {plural(report.count(warning), 'warning')}"
    steps = f"{plural(len(report.steps), 'run')}, {time_s:.0f} s"
    out.print()
    say(f"{VERDICTS[report.outcome]}: {plain(report.submission)}: {counts} ({steps})")
    _print_rows(report)
    if report.opens_no_video:
        say(f"[yellow]note:[/] {NO_VIDEO_OPENED}")
    for code, why in report.left_out.items():
        say(f"[yellow]left out:[/] {code}: {plain(why)}")
    for severity in (error, warning, unknown):
        _print_findings([one for one in report.findings if one.severity is severity and one.fix], folder)
        for one in report.comparisons:
            if one.severity is severity:
                say(f"[bold {COLOURS[severity]}]{severity}[/] [bold]{one.what}[/]: {plain(_difference(one))}")
                say(f"[bold]fix:[/] {one.fix}", indent=4)
    say(f"report: {plain(str(shown(folder / FILE)))}")


def _print_rows(report: "RehearsalReport") -> None:
    """A row for each outcome with the inputs that had it, then a row for each comparison."""
    codes: dict[tuple[str, str], list[str]] = {}
    for finding in report.findings:
        codes.setdefault((finding.severity, finding.outcome.value), []).append(finding.code)
    kinds = sorted(codes, key=lambda kind: list(COLOURS).index(kind[0]))
    rows = [(kind[0], f"{kind[1]} ({len(codes[kind])})", ", ".join(codes[kind])) for kind in kinds]
    rows += [(one.severity, one.what, _difference(one)) for one in report.comparisons]
    width = max(len(label) for _, label, _ in rows)
    for severity, label, text in rows:
        lines = [text] if out.soft_wrap else textwrap.wrap(text, max(out.width - width - 2, 20), break_on_hyphens=False)
        out.print(f"[{COLOURS[severity]}]{label:{width}}[/]  {plain(lines[0])}")
        for line in lines[1:]:
            out.print(f"{'':{width}}  {plain(line)}")


def _difference(comparison: "Comparison") -> str:
    if not comparison.differing:
        return f"identical predictions for {plural(comparison.compared, 'video')}"
    differing = f"{comparison.differing} of {plural(comparison.compared, 'prediction')} differ"
    return f"{differing}, by up to {comparison.largest:.3g} ({comparison.where})"


def _print_findings(findings: "list[RehearsalFinding]", folder: Path) -> None:
    """One block for all inputs with the same outcome and the same fix; the log of the first of them."""
    from dfdc_kit.report.run_report import LOG

    for (outcome, fix), group in groupby(sorted(findings, key=_kind), key=_kind):
        same = list(group)
        first = same[0]
        kaggle = f" (Kaggle: {first.kaggle})" if first.severity == "error" else ""
        codes = ", ".join(one.code for one in same)
        label = f"[bold {COLOURS[first.severity]}]{first.severity}[/] [bold]{outcome}[/]"
        say(f"{label}: {plain(codes)}{plain(kaggle)}")
        for line in _shown_lines(first):
            say(f"[dim]|[/] {plain(line)}", indent=4)
        say(f"[bold]fix:[/] {plain(fix)}", indent=4)
        where = f" ({first.code} is {first.name})" if first.name else ""
        say(f"[dim]log:[/] {plain(str(shown(folder / first.run / LOG)))}{plain(where)}", indent=4)


def _shown_lines(finding: "RehearsalFinding") -> list[str]:
    """The last frame in the submission's own code and the error; else the last lines, or why it failed."""
    lines = finding.log_lines
    own = [at for at, line in enumerate(lines) if f'File "{OWN_CODE}' in line]
    if own and len(lines) - own[-1] > LOG_LINES:
        return [*lines[own[-1] : own[-1] + 2], "    ...", lines[-1]]
    return lines[-LOG_LINES:] or [finding.detail] * bool(finding.detail)


def _kind(finding: "RehearsalFinding") -> tuple[str, str]:
    return finding.outcome.value, finding.fix
