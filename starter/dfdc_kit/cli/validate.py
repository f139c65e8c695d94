"""`dfdc validate`: every rule that a submission file breaks, and a mended copy."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json

if TYPE_CHECKING:
    from dfdc_kit.challenge import Challenge
    from dfdc_kit.submission.case import Example
    from dfdc_kit.submission.expected_rows import ExpectedRows
    from dfdc_kit.submission.repair import RepairReport
    from dfdc_kit.submission.validate import Validation, Violation


def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Submission CSV.")],
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            "-a",
            metavar="PATH",
            help="Expected rows: a sample submission, a folder of videos, or a solution.",
        ),
    ] = None,
    repair: Annotated[
        Path | None,
        typer.Option("--repair", metavar="OUT.csv", help="Write a fixed copy, if nothing has to be guessed."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a submission CSV against every rule of the format.

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
    from dfdc_kit.submission.repair import repair as mend
    from dfdc_kit.submission.validate import validate as check

    challenge = challenges.load()
    expected = None if against is None else _expected(against, challenge)
    if repair is None:
        validation, _ = check(file, challenge, expected)
        print_json(validation) if as_json else _show(validation)
        good = validation.valid
    else:
        report = mend(file, repair, challenge, expected)
        print_json(report) if as_json else _show_repair(report)
        good = report.written
    if not good:
        raise typer.Exit(1)


def _expected(path: Path, challenge: "Challenge") -> "ExpectedRows":
    from dfdc_kit.data.solution import holds_solution, read_solution
    from dfdc_kit.submission.expected_rows import ExpectedRows

    if path.exists() and holds_solution(path, challenge):
        solution = read_solution(path, challenge)
        return ExpectedRows.from_solution(solution.ids, solution.labels, f"the solution {solution.path}")
    return ExpectedRows.from_path(path, challenge)


def _show(validation: "Validation") -> None:
    _show_violations(validation.violations)
    if validation.rows and not validation.ids_checked:
        _say("[yellow]The ids were not checked[/]: nothing to compare with. Add: --against sample_submission.csv")
    sign = "[bold green]VALID[/]" if validation.valid else "[bold red]NOT VALID[/]"
    _say(f"{sign}: {plain(_summary(validation))}")


def _summary(validation: "Validation") -> str:
    found = [
        f"{len(some)} {name}{'' if len(some) == 1 else 's'}"
        for some, name in ((validation.errors, "error"), (validation.warnings, "warning"))
        if some
    ]
    rows = f"{validation.rows:,} row{'' if validation.rows == 1 else 's'}"
    against = f" against {validation.against}" if validation.ids_checked else ", format only"
    outcome = "" if validation.valid else f"; Kaggle: {validation.errors[0].kaggle}"
    return f"{rows}{against}; {' and '.join(found) or 'nothing to complain about'}{outcome}"


def _show_repair(report: "RepairReport") -> None:
    _show_violations(report.remains if report.remains else report.before.warnings)
    for violation in report.mended:
        state = "[green]mended[/]" if report.written else "[yellow]could be mended[/]"
        _say(f"{state} {violation.code}: {plain(violation.message)}")
    if report.written:
        _say(f"[bold green]WRITTEN[/]: {plain(report.out)}{'' if report.mended else ', with nothing to mend'}")
    else:
        codes = ", ".join(violation.code for violation in report.remains)
        _say(f"[bold red]NOT WRITTEN[/]: {codes} cannot be mended without guessing")


def _show_violations(violations: Iterable["Violation"]) -> None:
    for violation in violations:
        colour = "red" if violation.severity == "error" else "yellow"
        kaggle = f" [dim]({violation.kaggle})[/]" if violation.kaggle else ""
        _say(f"[bold {colour}]{violation.severity}[/] [bold]{violation.code}[/]: {plain(violation.message)}{kaggle}")
        for example in violation.examples:
            _say(plain(_example(example)), indent=4)
        _say(f"[dim]mend:[/] {plain(violation.mend)}", indent=4)


def _example(example: "Example") -> str:
    where = f"line {example.line}: " if example.line else ""
    named = f"{example.row_id}: " if example.row_id and example.row_id != example.seen else ""
    wanted = f", expected {example.expected}" if example.expected else ""
    return f"{where}{named}seen {example.seen or 'nothing'}{wanted}"


def _say(text: str, indent: int = 0) -> None:
    """One paragraph: wrapped with its indent on a terminal, one line where the output is piped."""
    if out.soft_wrap:
        return out.print(" " * indent + text)
    from rich.padding import Padding

    return out.print(Padding(text, (0, 0, 0, indent), expand=False))
