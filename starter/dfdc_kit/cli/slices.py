"""`dfdc slices`: on which videos the loss is high: portrait ones, one manipulation, one part of the data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.calibrate_predictions import RowsArgument, SolutionOption
from dfdc_kit.cli.console import JsonOption, RunsOption, out, plain, print_json, say, wanted
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from rich.table import Table

    from dfdc_kit.scoring.slices import Slice


def slices(
    rows: RowsArgument,
    solution: SolutionOption = None,
    by: Annotated[
        str, typer.Option("--by", metavar="COLUMNS", help="Comma-separated columns; default: all that are known.")
    ] = "",
    metadata: Annotated[
        list[Path] | None,
        typer.Option("--metadata", readable=False, metavar="FILE", help="CSV or JSON with more columns; repeatable."),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option("--videos", metavar="DIR", help="Folder of the videos; default: the solution's data folder."),
    ] = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Show on which videos the loss is high, worst first.

    Columns: label, those of the solution and of --metadata files (manipulation,
    part, ...), those of the videos' headers (orientation, resolution, fps,
    duration, audio, size), and a run's fallback reasons. The loss of each
    slice has a 95 % interval, by original where known; its difference to the rest
    is tested, with Holm's correction for the number of slices.

    Examples:

        dfdc slices last
        dfdc slices validation.csv --solution metadata.json --by orientation,audio
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.errors import UsageError, suggest
    from dfdc_kit.report.scored_submission import read_columns, read_scored_submission
    from dfdc_kit.scoring.metric import displayed
    from dfdc_kit.scoring.slices import MOST_VALUES, find_slices

    challenge = challenges.load()
    scored = read_scored_submission(rows, solution, runs, challenge)
    for file in metadata or ():
        if not file.is_file():
            raise UsageError(f"File or folder not found: {file}")
    known = read_columns(scored, challenge, metadata or (), videos)
    columns = {name: known[name] for name in wanted(by) if name in known}
    if unknown := [name for name in wanted(by) if name not in known]:
        raise UsageError(f"No column {unknown[0]}.", hint=suggest(unknown[0], list(known), label="Columns"))
    if not by:  # a column of texts that are all different is no error where it was not asked for
        columns = {name: values for name, values in known.items() if 1 < len(set(values)) <= MOST_VALUES}
    decimals = challenge.metric.displayed_decimals
    found = find_slices(scored.losses, columns, scored.originals)
    if as_json:
        return print_json(
            {"csv": scored.csv, "solution": scored.solution, "rows": len(scored.names), "slices": found}
            | {"loss": float(scored.losses.mean()), "clustered_by": scored.clustered_by, "columns": sorted(known)}
        )
    loss = displayed(float(scored.losses.mean()), decimals)
    out.print(f"mean loss [bold]{loss}[/] of {plural(len(scored.names), 'row')}\n")
    out.print(_table(found, decimals))
    tested = sum(one.p_value is not None for one in found)
    say(f"\np: corrected for {plural(tested, 'slice')} (Holm), rows of one {scored.clustered_by} together; - : too few")
    return None


def _table(found: "list[Slice]", decimals: int) -> "Table":
    from rich.table import Table

    from dfdc_kit.scoring.metric import displayed

    table = Table("slice", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("rows", "loss", "95 % interval", "to the rest", "p"):
        table.add_column(name, justify="right")
    for one in found:
        interval = f"{one.interval.low:.3f} to {one.interval.high:.3f}" if one.interval else "-"
        p = "-" if one.p_corrected is None else "<0.001" if one.p_corrected < 0.001 else f"{one.p_corrected:.3f}"
        style = "bold" if one.significant else ""
        numbers = (f"{one.rows:,}", displayed(one.loss, decimals), interval, f"{one.difference:+.4f}", p)
        table.add_row(plain(f"{one.column} {one.value}"), *numbers, style=style)
    return table
