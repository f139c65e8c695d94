"""`dfdc doctor`: what works on this machine, what is missing, and how to fix it."""

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json

if TYPE_CHECKING:
    from dfdc_kit.harness.doctor import DoctorReport

COLORS = {"ok": "green", "optional": "dim", "warning": "yellow", "problem": "red"}


def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 on a warning or problem.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check what this machine can do, and how to fix what it lacks.

    Examples:

        dfdc doctor
        dfdc doctor --strict
    """
    from dfdc_kit.harness.doctor import examine

    report = examine()
    if as_json:
        print_json(report)
    else:
        _show(report)
    if strict and any(finding.status in ("warning", "problem") for finding in report.findings):
        raise typer.Exit(3)


def _show(report: "DoctorReport") -> None:
    from rich.table import Table

    out.print(f"[bold]{plain(report.verdict)}[/]")
    if optional := [finding.name for finding in report.findings if finding.status == "optional"]:
        out.print(f"Optional, missing here: {', '.join(optional)}")
    for group, members in groupby(report.findings, key=lambda finding: finding.group):
        out.print(f"\n[bold]{group}[/]")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for finding in members:
            fix = f"\n[bold]fix:[/] {plain(finding.fix)}" if finding.fix else ""
            status = f"  [{COLORS[finding.status]}]{finding.status}[/]"
            table.add_row(status, finding.name, plain(finding.seen) + fix)
        out.print(table)
    out.print("\n[bold]Limits of a run, by backend[/]")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for backend, limits in report.enforcement.items():
        for limit in limits:
            table.add_row(f"  {backend}", limit.limit, plain(f"{limit.status}: {limit.how}"))
    out.print(table)
