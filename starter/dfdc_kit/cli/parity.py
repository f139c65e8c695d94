"""`dfdc parity`: the printable proof that a metric file is the official metric."""

from decimal import Decimal, InvalidOperation
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, err, out, plain, print_json
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from rich.table import Table

    from dfdc_kit.scoring.contract import MetricCheck
    from dfdc_kit.scoring.parity import OfficialScoreMatch, ParityReport


def parity(
    metric: Annotated[
        Path | None,
        typer.Option(
            "--metric",
            "-m",
            readable=False,
            metavar="FILE",
            help="Python file with a function `score`; default: the official metric.",
        ),
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option("--submission", readable=False, metavar="FILE", help="Submission CSV with a known score."),
    ] = None,
    solution: Annotated[
        Path | None, typer.Option("--solution", readable=False, metavar="FILE", help="Its ground truth.")
    ] = None,
    official: Annotated[
        str | None, typer.Option("--official", metavar="SCORE", help="Its score as Kaggle displays it, e.g. 0.42798.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a metric file computes the official score.

    Compares it with golden vectors from a 50-digit reference, scikit-learn and
    scores of the public leaderboard, with rows in any order and dtype, and with
    broken submissions. Exit code 1 if anything differs.

    With --submission, --solution and --official: check that it gives the score
    that Kaggle displayed for this file; if not, which variant of the metric would
    (another clip, float32, inverted labels, missing rows as 0.5, and more).

    Examples:

        dfdc parity
        dfdc parity --metric my_metric.py --json
        dfdc parity --submission my.csv --solution labels.csv --official 0.428
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.scoring.metric import load_metric
    from dfdc_kit.scoring.parity import check_metric

    challenge = challenges.load()
    if submission or solution or official:
        agrees = _official_score(submission, solution, official, metric, as_json)
    else:
        with err.status("checking the metric ..."):
            report = check_metric(load_metric(metric or challenge.metric_path), challenge)
        agrees = report.agrees
        if as_json:
            print_json(report)
        else:
            _show(report)
    if not agrees:
        raise typer.Exit(1)


def _official_score(
    submission: Path | None, solution: Path | None, official: str | None, metric: Path | None, as_json: bool
) -> bool:
    """Show how the score of `submission` compares with `official`; whether it matches. Raises UsageError."""
    from dfdc_kit import challenge as challenges
    from dfdc_kit.cli.validate import check_exists
    from dfdc_kit.data.solution import read_solution
    from dfdc_kit.errors import UsageError
    from dfdc_kit.scoring.metric import load_metric
    from dfdc_kit.scoring.parity import check_official_score
    from dfdc_kit.submission.parsed import read_leniently

    if not (submission and solution and official):
        raise UsageError("--submission, --solution and --official belong together.", command="dfdc parity --help")
    challenge = challenges.load()
    check_exists(submission)
    ids, predicted = read_leniently(submission, challenge)
    loaded = load_metric(metric or challenge.metric_path)
    match = check_official_score(ids, predicted, read_solution(solution, challenge), official, loaded, challenge)
    if as_json:
        print_json(match)
    else:
        _show_match(match)
    return match.matches


def _show_match(match: "OfficialScoreMatch") -> None:
    if match.ours is None:
        out.print(f"the metric refuses this file: {match.refused}")
    else:
        out.print(f"score     {match.ours.displayed} (in full {match.ours.value!r})")
    out.print(f"official  {plain(match.official)}\n")
    if match.matches:
        out.print(f"[bold green]MATCHES[/]{' when rounded; Kaggle truncates' if match.rounded else ''}")
        return
    out.print("[bold red]DIFFERS[/]")
    for variant in match.variants:
        out.print(f"would match: {plain(variant.name)} ({variant.value!r})", soft_wrap=True)
    if len(match.variants) > 1:
        out.print("More than one variant fits; an official score with more digits, or of another file, would decide.")
    if not match.variants and match.nearest is not None:
        name = match.nearest.name or "the official metric"
        out.print(f"No known variant matches. Nearest: {plain(name)}, {match.nearest.value!r}", soft_wrap=True)
        out.print("Is this the solution of the test set that Kaggle scored, and the file that was submitted?")


def _sign(ok: bool | None) -> str:
    """A tick, a cross, or an i; in ASCII where the terminal or the pipe has nothing better."""
    good, bad = ("✓", "✗") if out.encoding.lower().startswith("utf") else ("+", "x")
    return {True: f"[green]{good}[/]", False: f"[bold red]{bad}[/]", None: "[dim]i[/]"}[ok]


def _show(report: "ParityReport") -> None:
    out.print(_table(report))
    failed = [check for check in report.checks if check.ok is False]
    required = sum(check.ok is not None for check in report.checks)
    for check in failed:
        detail = f"expected {check.expected}, seen {check.seen}" + (f" ({check.why})" if check.why else "")
        out.print(f"{_sign(False)} {plain(check.group)}, {plain(check.name)}: {plain(detail)}", soft_wrap=True)
    out.print(f"\nfile     {plain(report.metric)}", soft_wrap=True)
    out.print(f"sha256   {report.metric_sha256}")
    out.print(f"machine  {plain(', '.join(f'{name} {version}' for name, version in report.machine.items()))}")
    out.print(f"checked  {report.checked}, for information: {plural(len(report.checks) - required, 'row')} marked i\n")
    if failed:
        out.print(f"[bold red]DIFFERS[/] from the official metric in {len(failed)} of {required} checks.")
    else:
        out.print(f"[bold green]AGREES[/] with the official metric in all {required} checks.")


def _table(report: "ParityReport") -> "Table":
    from rich.table import Table

    table = Table("check", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("expected", no_wrap=True, overflow="crop", width=17)
    table.add_column("seen", no_wrap=True, overflow="crop", width=18)
    table.add_column("off by", no_wrap=True, justify="right", width=8)
    table.add_column("", no_wrap=True, width=1)
    for group, members in groupby(report.checks, key=lambda check: check.group):
        table.add_row(f"[bold]{plain(group)}[/]")
        for check in members:
            off = "" if check.difference is None else f"{check.difference:.2g}"
            table.add_row(
                plain(check.name),
                plain(_short(check, check.expected)),
                plain(_short(check, check.seen)),
                off,
                _sign(check.ok),
            )
    return table


def _short(check: "MetricCheck", text: str) -> str:
    """A number in 12 digits; the column `off by` shows the rest."""
    if check.difference is None:
        return text
    try:
        return f"{Decimal(text):.12g}"
    except InvalidOperation:
        return text
