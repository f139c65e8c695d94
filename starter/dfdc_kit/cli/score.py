"""`dfdc score` and `dfdc slices`: the official score of a submission CSV, and on which videos the loss is high."""

import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.calibrate_predictions import RowsArgument, SolutionOption
from dfdc_kit.cli.console import (
    AllOption,
    JsonOption,
    RunsOption,
    out,
    plain,
    print_json,
    print_next,
    say,
    wanted,
    warn,
)
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from rich.table import Table

    from dfdc_kit.challenge import Challenge
    from dfdc_kit.csv_text import Texts
    from dfdc_kit.data.solution import Solution
    from dfdc_kit.scoring.score import CostlyRow, Score
    from dfdc_kit.scoring.slices import Slice


def score(
    submission: Annotated[Path, typer.Argument(readable=False, metavar="SUBMISSION", help="Submission CSV.")],
    solution: Annotated[
        Path,
        typer.Argument(
            readable=False,
            metavar="SOLUTION",
            help="Ground truth: a CSV, a metadata.json, or a folder with one of these.",
        ),
    ],
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
    runs: RunsOption = Path("runs"),
    subset: Annotated[
        bool, typer.Option("--subset", help="Score only the submission's rows, although the solution has more.")
    ] = False,
    show_all: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a submission CSV as the leaderboard would.

    Validates it first. Shows the public and private parts, the classes, and the
    videos that cost the most. Labels without a column Usage may have more rows
    than the submission: only its rows are scored, as in `dfdc run`. A solution
    with Usage is a whole test set: fewer rows are an error, unless --subset is
    given, less than half are predicted, or the submission is from a run.

    Examples:

        dfdc score submission.csv sample_data/solution/solution.csv
        dfdc score submission.csv train_sample_videos/metadata.json --json
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.cli.validate import check_exists, show_validation, show_violations
    from dfdc_kit.csv_text import ALL_LINES, FIRST
    from dfdc_kit.data.solution import read_solution
    from dfdc_kit.report.history import of_score, record_or_warn
    from dfdc_kit.scoring.metric import load_metric
    from dfdc_kit.scoring.score import constant_score, score_submission
    from dfdc_kit.scoring.uncertainty import with_uncertainty
    from dfdc_kit.submission.expected_rows import ExpectedRows
    from dfdc_kit.submission.validate import validate

    challenge = challenges.load()
    check_exists(submission)
    loaded = load_metric(metric or challenge.metric_path)
    full = read_solution(solution, challenge)
    ground_truth = _matching_rows(submission, full, challenge, subset=subset)
    expected = ExpectedRows.from_solution(ground_truth.ids, ground_truth.labels, f"the solution {ground_truth.path}")
    validation, table = validate(submission, challenge, expected, ALL_LINES if as_json or show_all else FIRST)
    if table is None:
        if as_json:
            print_json({"validation": validation, "score": None, "constant": None})
        else:
            show_validation(validation)
            if {found.code for found in validation.violations if found.severity == "error"} == {"id-missing"}:
                command = shlex.join(["dfdc", "score", str(submission), str(solution), "--subset"])
                out.print("If no more rows were to be predicted:")
                print_next(command)
        raise typer.Exit(1)
    found = score_submission(loaded, ground_truth, table, challenge)
    found = with_uncertainty(found, loaded, ground_truth, table, challenge, ground_truth.originals)
    constant = constant_score(loaded, ground_truth, challenge)
    event = of_score(submission, ground_truth.path, found, lower_is_better=challenge.metric.lower_is_better)
    record_or_warn(runs, event, warn)
    if len(ground_truth.ids) < len(full.ids):
        left = len(full.ids) - len(ground_truth.ids)
        warn(
            f"Scored the submission's {plural(len(ground_truth.ids), 'row')}; the solution has {left:,} more."
            " Kaggle refuses a submission that lacks rows of the test set."
        )
    if as_json:
        return print_json({"validation": validation, "score": found, "constant": constant})
    for note in ground_truth.notes:
        out.print(f"[dim]note:[/] {plain(str(ground_truth.path))}: {plain(note)}", soft_wrap=True)
    show_violations(validation.violations)
    if validation.violations:
        out.print()
    return _show(found, constant, challenge)


def _matching_rows(submission: Path, solution: "Solution", challenge: "Challenge", *, subset: bool) -> "Solution":
    """The solution, or its rows that the submission has, where it is meant to cover a part of it.

    Raises DataError if the two have no name in common, also without folder, suffix and case.
    """
    import numpy as np

    from dfdc_kit.csv_text import preview, read_csv
    from dfdc_kit.errors import DataError
    from dfdc_kit.report.run_report import FILE
    from dfdc_kit.submission.expected_rows import match

    ids = read_csv(submission).column(challenge.submission.row_id)
    if ids is None or not len(ids):
        return solution
    both = np.ones(len(solution.ids), np.bool_)
    both[match(ids, solution.ids).missing] = False
    if not both.any() and not _stems(ids) & _stems(solution.ids):
        raise DataError(
            f"{submission} and {solution.path} have no file name in common, such as {preview(ids[0])} and"
            f" {preview(solution.ids[0])}: this is another data set's solution.",
            hint="Name the solution of the videos that were predicted.",
        )
    is_test_set = solution.usage is not None
    meant = subset or not is_test_set or both.sum() * 2 < len(both) or (submission.parent / FILE).is_file()
    return solution.take(both) if meant and both.any() else solution


def _stems(ids: "Texts") -> set[str]:
    """Names without folder, suffix and case."""
    names = (name.decode("utf-8", "replace").strip().replace("\\", "/") for name in ids.tolist())
    return {PurePosixPath(name).stem.lower() for name in names}


def _show(score: "Score", constant: "Score", challenge: "Challenge") -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for row in _lines(score, constant, challenge):
        table.add_row(*row)
    out.print(table)
    if score.costliest:
        out.print("\n[bold]the rows that cost the most[/]")
        out.print(_costliest(score.costliest, challenge.metric.displayed_decimals))
    out.print(f"\nmetric  {plain(score.metric)}", soft_wrap=True)
    out.print(f"sha256  {score.metric_sha256}")


def _lines(score: "Score", constant: "Score", challenge: "Challenge") -> Iterator[tuple[str, str, str]]:
    from dfdc_kit.report.summary import rank_warning, uncertainty_texts

    better = "lower is better" if challenge.metric.lower_is_better else "higher is better"
    yield "score", f"[bold]{score.displayed}[/]", f"{challenge.metric.name}, {better}; in full {score.value!r}"
    if score.uncertainty is not None:
        yield "interval", *uncertainty_texts(score.uncertainty)
    if warning := rank_warning(score.uncertainty):
        yield "", "", warning
    for name, part in score.parts.items():
        yield f"  {name.lower()}", part.displayed, f"{part.rows} of {plural(score.rows, 'row')}"
    for name, part in (score.per_class or {}).items():
        yield f"  {plain(name)}", part.displayed, f"mean cost of {plural(part.rows, f'{plain(name)} row')}"
    uncertainty, difference = score.uncertainty, ""
    if uncertainty is not None and (interval := uncertainty.constant_interval):
        between = f"{interval.low:+.3f} to {interval.high:+.3f}"
        difference = f"; difference {uncertainty.constant_difference:+.3f} ({between})"
    yield "constant", constant.displayed, f"all 0.5{difference}"
    if score.secondary is not None:
        from dfdc_kit.scoring.diagnostics import describe

        for name, text in zip(("secondary", ""), describe(score.secondary), strict=False):
            yield name, "", text


def _costliest(rows: "list[CostlyRow]", decimals: int) -> "Table":
    from rich.table import Table

    from dfdc_kit.scoring.metric import displayed

    table = Table("row", "label", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("predicted", "cost", "of total"):
        table.add_column(name, justify="right")
    for row in rows:
        numbers = (f"{row.predicted:.8g}", displayed(row.loss, decimals), f"{row.share:.1%}")
        table.add_row(plain(row.row_id), plain(row.label), *numbers)
    return table


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
    losses = scored.row_losses()
    for file in metadata or ():
        if not file.is_file():
            raise UsageError(f"File or folder not found: {file}")
    known = read_columns(scored, challenge, metadata or (), videos)
    columns = {name: known[name] for name in wanted(by) if name in known}
    if unknown := [name for name in wanted(by) if name not in known]:
        raise UsageError(f"Unknown column {unknown[0]!r}.", hint=suggest(unknown[0], list(known), label="Columns"))
    if not by:  # a column of texts that are all different is no error where it was not asked for
        columns = {name: values for name, values in known.items() if 1 < len(set(values)) <= MOST_VALUES}
    decimals = challenge.metric.displayed_decimals
    found = find_slices(losses, columns, scored.originals)
    if as_json:
        return print_json(
            {"csv": scored.csv, "solution": scored.solution, "rows": len(scored.names), "slices": found}
            | {"loss": float(losses.mean()), "clustered_by": scored.clustered_by, "columns": sorted(known)}
        )
    loss = displayed(float(losses.mean()), decimals)
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
