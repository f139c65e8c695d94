"""`dfdc doctor`: what this machine has, what is missing, and what mends it."""

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.harness.doctor import Examination

SIGNS = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "problem": "[red]problem[/]"}


def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything is missing or broken.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check what this machine can do, and how to fix what it lacks.

    Examples:

        dfdc doctor
        dfdc doctor --strict
    """
    from dfdc_kit.harness.doctor import examine

    examination = examine()
    if as_json:
        print_json(examination)
    else:
        _show(examination)
    if strict and any(finding.status != "ok" for finding in examination.findings):
        raise typer.Exit(1)


def _show(examination: "Examination") -> None:
    from rich.table import Table

    for group, members in groupby(examination.findings, key=lambda finding: finding.group):
        out.print(f"[bold]{group}[/]")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for finding in members:
            mend = f"\n[bold]mend:[/] {plain(finding.mend)}" if finding.mend else ""
            table.add_row(f"  {SIGNS[finding.status]}", finding.name, plain(finding.seen) + mend)
        out.print(table)
    out.print("[bold]Limits of a run, by backend[/]")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for backend, limits in examination.enforcement.items():
        for limit in limits:
            table.add_row(f"  {backend}", limit.limit, plain(f"{limit.status}: {limit.how}"))
    out.print(table)
    counts = {sign: sum(finding.status == sign for finding in examination.findings) for sign in SIGNS}
    out.print(f"\n{counts['ok']} ok, {counts['missing']} missing, {plural(counts['problem'], 'problem')}")
