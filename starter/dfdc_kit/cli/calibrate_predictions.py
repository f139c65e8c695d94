"""`dfdc calibrate-predictions`: how well predictions are calibrated, and what a temperature or a clip would gain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json, say
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from rich.table import Table

    from dfdc_kit.scoring.calibration import CalibrationGain, CalibrationReport

RowsArgument = Annotated[str, typer.Argument(metavar="CSV_OR_RUN", help="Submission CSV, or a run id, or `last`.")]
SolutionOption = Annotated[
    Path | None,
    typer.Option("--solution", readable=False, metavar="FILE", help="Ground truth; a run knows its own."),
]


def calibrate_predictions(
    rows: RowsArgument,
    solution: SolutionOption = None,
    new_csv: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the predictions, recalibrated by the best method."),
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of all runs.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Show how well predictions are calibrated.

    A reliability table; the parts of the log loss: calibration and refinement, by
    isotonic regression; and what a temperature, a clip or both would gain, with a
    95 % interval. Gains are cross-validated by original: no row is scored with a
    value that was chosen on it. --out is fitted to all rows.

    Examples:

        dfdc calibrate-predictions validation.csv --solution metadata.json
        dfdc calibrate-predictions last --out calibrated.csv
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.errors import UsageError
    from dfdc_kit.report.scored_submission import read_scored_submission, write_predictions
    from dfdc_kit.scoring.calibration import calibration_report

    challenge = challenges.load()
    if challenge.metric.name != "log loss":
        raise UsageError(f"Calibration is defined for log loss; {challenge.slug} has {challenge.metric.name}.")
    scored = read_scored_submission(rows, solution, runs, challenge)
    report = calibration_report(scored.labels, scored.predicted, scored.originals, scored.clustered_by)
    best = report.gains[0]
    if new_csv:
        write_predictions(new_csv, scored, best.fitted.apply, challenge)
    if as_json:
        return print_json({"report": report, "out": new_csv, "method": best.method if new_csv else None})
    _show(report)
    if new_csv:
        values = f"temperature {best.fitted.temperature:g}, clip {best.fitted.clip:g}"
        say(f"\nWrote {plain(str(new_csv))}: {values}, fitted to all these rows.")
        say("Its score on these rows is no evidence: the gain above is.")
    return None


def _show(report: "CalibrationReport") -> None:
    from dfdc_kit.scoring.metric import displayed

    parts = report.parts
    by = f"{plural(report.rows, 'row')} of {plural(report.clusters, report.clustered_by)}"
    out.print(f"log loss [bold]{displayed(parts.loss)}[/] ({by})")
    out.print(f"  calibration {parts.calibration:.5f}   against isotonic regression on the same rows")
    of = f"of {displayed(parts.uncertainty)} that a constant costs"
    out.print(f"  refinement  {displayed(parts.refinement)}   {of}\n")
    out.print(_reliability(report))
    out.print(f"\n[bold]gain by recalibration[/], cross-validated in {report.folds} folds by {report.clustered_by}")
    out.print(_gains(report))
    for gain in report.gains:
        out.print(f"  {gain.method}: {_chosen(gain)}")
    best = report.gains[0]
    if best.interval is None or best.interval.low <= 0:
        say("No method gains for certain: its interval contains 0, so that the gain may be chance.")


def _reliability(report: "CalibrationReport") -> "Table":
    from rich.table import Table

    table = Table("prediction", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("rows", "mean", "positive", "95 % interval"):
        table.add_column(name, justify="right")
    for one in report.reliability:
        low, high = one.interval
        outside = not low <= one.predicted <= high
        table.add_row(
            f"{one.low:.1f} to {one.high:.1f}",
            f"{one.rows:,}",
            f"{one.predicted:.3f}",
            f"[yellow]{one.observed:.3f}[/]" if outside else f"{one.observed:.3f}",
            f"{low:.3f} to {high:.3f}",
        )
    return table


def _gains(report: "CalibrationReport") -> "Table":
    from rich.table import Table

    from dfdc_kit.scoring.metric import displayed

    table = Table("method", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("log loss", "gain", "95 % interval"):
        table.add_column(name, justify="right")
    for gain in report.gains:
        interval = f"{gain.interval.low:+.5f} to {gain.interval.high:+.5f}" if gain.interval else "unknown"
        table.add_row(gain.method, displayed(gain.loss), f"{gain.gain:+.5f}", interval)
    return table


def _chosen(gain: "CalibrationGain") -> str:
    """The values that the folds chose, such as "temperature 1.6 to 1.9"."""
    values = {
        "temperature": {one.temperature for one in gain.chosen} - {1.0},
        "clip": {one.clip for one in gain.chosen} - {0.0},
    }
    return ", ".join(_span(name, found) for name, found in values.items() if found) or "nothing to change"


def _span(name: str, values: set[float]) -> str:
    low, high = min(values), max(values)
    return f"{name} {low:g}" if low == high else f"{name} {low:g} to {high:g}"
