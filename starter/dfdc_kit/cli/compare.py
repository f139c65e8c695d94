"""`dfdc compare`: two or more submissions on the same rows: differences, ties, blends, and which two to select."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, RunsOption, out, plain, print_json, say, warn
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from rich.table import Table

    from dfdc_kit.challenge import Challenge
    from dfdc_kit.scoring.compare import Comparison
    from dfdc_kit.scoring.intervals import Interval

SHOWN_PAIRS = 10
NAME_WIDTH = 22


def compare(
    submissions: Annotated[
        list[str], typer.Argument(metavar="SUBMISSION...", help="Two or more: CSVs, run ids, run folders, or `last`.")
    ],
    solution: Annotated[
        Path | None,
        typer.Option(
            "--solution", readable=False, metavar="FILE", help="Ground truth; default: that of the first run."
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", metavar="FILE", help="Where to write the page; default: comparison.html in --out."),
    ] = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Compare submissions on the same videos.

    Paired differences with 95 % intervals and a permutation test, corrected for
    all pairs; ties; how stable the ranks are; what a blend would gain; which two
    to select as final. Videos of one original are resampled together.

    Examples:

        dfdc compare a.csv b.csv --solution sample_data/solution/solution.csv
        dfdc compare 20261127-115827-constant last --json
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.report import comparison

    challenge = challenges.load()
    found, notes = comparison.compare_submissions(submissions, solution, runs, challenge)
    path = page or runs / comparison.PAGE
    comparison.write(found, notes, challenge, path)
    if as_json:
        return print_json({"comparison": found, "notes": notes, "page": path})
    for note in notes:
        warn(note)
    _show(found, challenge)
    for line in comparison.advice(found, challenge):
        say(plain(line))
    return say(f"\nPage: {plain(str(path))}")


def _show(found: "Comparison", challenge: "Challenge") -> None:
    units = f"{plural(found.rows, 'row')} of {plural(found.clusters, found.clustered_by)}"
    better = "lower is better" if challenge.metric.lower_is_better else "higher is better"
    out.print(f"{challenge.metric.name}, {better}; {units}; 95 % intervals", soft_wrap=True)
    out.print(f"p from {found.test} of whole {found.clustered_by}s\n", soft_wrap=True)
    out.print(_scores(found, challenge.metric.displayed_decimals))
    out.print()
    out.print(_pairs(found, lower_is_better=challenge.metric.lower_is_better))
    if (more := len(found.pairs) - SHOWN_PAIRS) > 0:
        say(f"and {plural(more, 'more pair')}; see the page")
    out.print()
    if found.too_few_to_rank:
        from dfdc_kit.scoring.intervals import FEWEST_TO_RANK

        units = plural(found.clusters, found.clustered_by)
        warn(f"Too few to rank anything: {units} ({FEWEST_TO_RANK} needed).")


def _scores(found: "Comparison", decimals: int) -> "Table":
    from dfdc_kit.scoring.metric import displayed

    table = _table("#", "submission", "score", "95 % interval", "to 0.5", "first", "rank", "tie")
    for at, one in enumerate(found.submissions, 1):
        constant = f"{one.constant_difference:+z.3f}"
        ranks = f"{one.rank_low}" if one.rank_low == one.rank_high else f"{one.rank_low}-{one.rank_high}"
        name, score = plain(_shortened(one.name)), displayed(one.score, decimals)
        row = (_range(one.interval, ".3f"), constant, f"{one.p_first:.0%}", ranks, one.groups)
        table.add_row(str(at), name, score, *row)
    return table


def _pairs(found: "Comparison", *, lower_is_better: bool) -> "Table":
    numbers = {one.name: at for at, one in enumerate(found.submissions, 1)}
    table = _table("pair", "difference", "95 % interval", "p (Holm)", "", "correlation")
    for pair in found.pairs[:SHOWN_PAIRS]:
        outcome = "identical" if pair.identical else "differ" if pair.significant else "tie"
        correlation = "" if pair.error_correlation is None else f"{pair.error_correlation:.2f}"
        row = (f"{pair.difference:+z.4f}", _range(pair.interval, "+z.4f"), f"{pair.p_corrected:.4f}", outcome)
        one, other = (pair.worse, pair.better) if lower_is_better else (pair.better, pair.worse)
        table.add_row(f"{numbers[one]} - {numbers[other]}", *row, correlation)
    return table


def _range(interval: "Interval | None", form: str) -> str:
    return "unknown" if interval is None else f"{interval.low:{form}} to {interval.high:{form}}"


def _shortened(name: str) -> str:
    """Both ends of a long name: many differ at the end only."""
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH // 2 - 1]}…{name[-NAME_WIDTH // 2 :]}"


def _table(*names: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, justify="left" if name in ("submission", "tie", "") else "right", no_wrap=True)
    return table
