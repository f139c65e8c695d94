"""`dfdc validate`: every rule that a submission file breaks, and a fixed copy."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, plain, print_json, say
from dfdc_kit.errors import UsageError
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.challenge import Challenge
    from dfdc_kit.submission.expected_rows import ExpectedRows
    from dfdc_kit.submission.parsed import Example
    from dfdc_kit.submission.validate import RepairReport, Validation, Violation


def validate(
    file: Annotated[Path, typer.Argument(readable=False, metavar="FILE", help="Submission CSV.")],
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            "-a",
            readable=False,
            metavar="PATH",
            help="Expected rows: a sample submission, a folder of videos, or a solution.",
        ),
    ] = None,
    repair: Annotated[
        Path | None,
        typer.Option("--repair", metavar="OUT.csv", help="Write a fixed copy, if nothing has to be guessed."),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every line at fault, not only the first five of each kind.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the format of a submission CSV.

    Exit code 1 if it is not valid. Without --against, row ids are not checked.
    A solution is a CSV with a column Usage or with labels 0 and 1, a
    metadata.json, or a folder with one of these; with a solution, inverted
    labels are found as well.

    Examples:

        dfdc validate submission.csv --against sample_submission.csv
        dfdc validate submission.csv --against metadata.json --json
        dfdc validate submission.csv --against test_videos --repair fixed.csv
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.csv_text import ALL_LINES, FIRST
    from dfdc_kit.submission.validate import repair as write_fixed
    from dfdc_kit.submission.validate import validate as check

    challenge = challenges.load()
    check_exists(file)
    expected = None if against is None else _expected(against, challenge)
    most = ALL_LINES if as_json or show_all else FIRST
    if repair is None:
        validation, _ = check(file, challenge, expected, most)
        print_json(validation) if as_json else show_validation(validation)
        good = validation.valid
    else:
        report = write_fixed(file, repair, challenge, expected, most)
        print_json(report) if as_json else _show_repair(report)
        good = report.written
    if not good:
        raise typer.Exit(1)


def _expected(path: Path, challenge: "Challenge") -> "ExpectedRows":
    from dfdc_kit.data.solution import contains_solution, read_solution
    from dfdc_kit.files import translate_read_errors
    from dfdc_kit.submission.expected_rows import ExpectedRows

    with translate_read_errors():
        is_solution = path.exists() and contains_solution(path, challenge)
    if is_solution:
        solution = read_solution(path, challenge)
        return ExpectedRows.from_solution(solution.ids, solution.labels, f"the solution {solution.path}")
    return ExpectedRows.from_path(path, challenge)


def check_exists(file: Path) -> None:
    """Raises UsageError if there is no such file."""
    with contextlib.suppress(PermissionError):  # reported when it is opened
        if not file.exists():
            raise UsageError(f"File or folder not found: {file}")


def show_validation(validation: "Validation") -> None:
    """Print all violations and the verdict."""
    show_violations(validation.violations)
    if validation.rows and not validation.ids_checked:
        say("[yellow]Row ids were not checked[/]. Add: --against sample_submission.csv")
    sign = "[bold green]VALID[/]" if validation.valid else "[bold red]NOT VALID[/]"
    say(f"{sign}: {plain(_summary(validation))}")


def _summary(validation: "Validation") -> str:
    kinds = ((validation.errors, "error"), (validation.warnings, "warning"))
    found = " and ".join(plural(len(some), name) for some, name in kinds if some)
    against = f" against {validation.against}" if validation.ids_checked else ", format only"
    outcome = "" if validation.valid else f"; Kaggle: {validation.errors[0].kaggle}"
    return f"{plural(validation.rows, 'row')}{against}; {found or 'no errors'}{outcome}"


def _show_repair(report: "RepairReport") -> None:
    show_violations(report.remains if report.remains else report.before.warnings)
    for violation in report.fixed:
        state = "[green]fixed[/]" if report.written else "[yellow]fixable[/]"
        say(f"{state} {violation.code}: {plain(violation.message)}")
    if report.written:
        say(f"[bold green]WRITTEN[/]: {plain(report.out)}{'' if report.fixed else ', nothing to fix'}")
    else:
        codes = ", ".join(violation.code for violation in report.remains)
        say(f"[bold red]NOT WRITTEN[/]: {codes} cannot be fixed without guessing")


def show_violations(violations: Iterable["Violation"]) -> None:
    """Print each violation with its examples and its fix."""
    for violation in violations:
        colour = "red" if violation.severity == "error" else "yellow"
        kaggle = f" [dim]({violation.kaggle})[/]" if violation.kaggle else ""
        say(f"[bold {colour}]{violation.severity}[/] [bold]{violation.code}[/]: {plain(violation.message)}{kaggle}")
        for example in violation.examples:
            say(plain(_example(example)), indent=4)
        if violation.examples and violation.count > len(violation.examples):
            say(f"[dim]and {violation.count - len(violation.examples):,} more (all: --all or --json)[/]", indent=4)
        say(f"[dim]fix:[/] {plain(violation.fix)}", indent=4)


def _example(example: "Example") -> str:
    where = f"line {example.line}: " if example.line else ""
    named = f"{example.row_id}: " if example.row_id and example.row_id != example.seen else ""
    wanted = f", expected {example.expected}" if example.expected else ""
    return f"{where}{named}seen {example.seen or 'nothing'}{wanted}"
