"""The summary of a dress rehearsal, for a person: a table of inputs, then what to mend, then the verdict."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from rich.padding import Padding
from rich.table import Table

from dfdc_kit.cli.console import out, plain, shown
from dfdc_kit.formatting import plural
from dfdc_kit.harness.rehearsal.record import Comparison, InputOutcome, RehearsalFinding, RehearsalReport, Severity
from dfdc_kit.report.run_report import LOG

COLOURS = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.ERROR: "red", Severity.UNKNOWN: "dim"}
OUTCOMES = {
    "passed": "[bold green]PASSED[/]",
    "failed": "[bold red]FAILED[/]",
    "interrupted": "[bold yellow]INTERRUPTED[/]",
}


def show(report: RehearsalReport, folder: Path) -> None:
    """Print the summary of the rehearsal whose files lie in `folder`."""
    out.print()
    out.print(_inputs(report.findings), soft_wrap=False)
    out.print()
    if report.comparisons:
        out.print(_comparisons(report.comparisons), soft_wrap=False)
        out.print()
    for code, why in report.left_out.items():
        _say(f"[yellow]left out[/] {code}: {plain(why)}")
    for severity in (Severity.ERROR, Severity.WARNING):
        _show_findings([one for one in report.findings if one.severity is severity], folder)
        for one in report.comparisons:
            if one.severity is severity:
                _say(f"[bold {COLOURS[severity]}]{severity.value}[/] [bold]{one.what}[/]: {plain(_difference(one))}")
                _say(f"[bold]fix:[/] {one.fix}", indent=4)
    _say(_last_line(report, folder))


def _inputs(findings: list[RehearsalFinding]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    inputs = max(len("input"), *(len(one.code) for one in findings))
    kaggle = max(len("Kaggle"), *(len(one.kaggle) for one in findings))
    table.add_column("input", width=inputs)
    table.add_column("what it did", width=max(out.width - inputs - kaggle - 4, 20), no_wrap=True, overflow="ellipsis")
    table.add_column("Kaggle", width=kaggle)
    for one in findings:
        what = f"[{COLOURS[one.severity]}]{one.deed.value}[/]{plain(_detail(one))}"
        table.add_row(one.code, what, one.kaggle or "-")
    return table


def _detail(finding: RehearsalFinding) -> str:
    if finding.deed in (InputOutcome.ROW, InputOutcome.SILENT) and finding.prediction is not None:
        return f" {finding.prediction:.5g}" + (f", {finding.said}" if finding.said else "")
    return f": {finding.said}" if finding.said else ""


def _comparisons(comparisons: Iterable[Comparison]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("run", no_wrap=True)
    table.add_column("predictions")
    for one in comparisons:
        table.add_row(one.what, f"[{COLOURS[one.severity]}]{plain(_difference(one))}[/]")
    return table


def _difference(comparison: Comparison) -> str:
    if not comparison.differing:
        return f"identical for all of {plural(comparison.compared, 'video')}"
    seen = f"{comparison.differing} of {comparison.compared} differ, at most by {comparison.largest:.3g}"
    return f"{seen} ({comparison.where})"


def _show_findings(findings: list[RehearsalFinding], folder: Path) -> None:
    """One paragraph for all inputs with the same deed and the same fix."""
    for (deed, fix), some in groupby(sorted(findings, key=_kind), key=_kind):
        same = list(some)
        first = same[0]
        names = ", ".join(f"{one.code} ({one.name})" if one.name else one.code for one in same)
        _say(f"[bold {COLOURS[first.severity]}]{first.severity.value}[/] [bold]{deed}[/]: {plain(names)}")
        for line in first.evidence:
            _say(f"[dim]|[/] {plain(line)}", indent=4)
        _say(f"[bold]fix:[/] {plain(fix)}", indent=4)
        _say(f"[dim]log:[/] {plain(str(shown(folder / first.run / LOG)))}", indent=4)


def _kind(finding: RehearsalFinding) -> tuple[str, str]:
    return finding.deed.value, finding.fix


def _last_line(report: RehearsalReport, folder: Path) -> str:
    time_s = sum(step.wall_time_s for step in report.steps)
    counts = ", ".join(_count(report.count(mark), mark.value) for mark in (Severity.ERROR, Severity.WARNING))
    where = f"{plural(len(report.steps), 'run')}, {time_s:.0f} s; {plain(str(shown(folder)))}/rehearsal.json"
    return f"{OUTCOMES[report.outcome]}: {plain(report.submission)}: {counts}; {where}"


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def _say(text: str, indent: int = 0) -> None:
    """One paragraph: wrapped with its indent on a terminal, one line where the output is piped."""
    if out.soft_wrap:
        return out.print(" " * indent + text)
    return out.print(Padding(text, (0, 0, 0, indent), expand=False))
