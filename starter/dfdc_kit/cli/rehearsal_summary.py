"""Print a rehearsal on one screen: verdict, what happened to each input, one block for each kind of fault."""

import textwrap
from itertools import groupby
from pathlib import Path

from rich.padding import Padding

from dfdc_kit.cli.console import out, plain, shown
from dfdc_kit.formatting import plural
from dfdc_kit.harness.rehearsal.record import FILE, Comparison, RehearsalFinding, RehearsalReport, RehearsalSeverity
from dfdc_kit.report.run_report import LOG

OK, WARNING, ERROR, UNKNOWN = RehearsalSeverity
COLOURS = {ERROR: "red", WARNING: "yellow", OK: "green", UNKNOWN: "dim"}  # in the order of the summary
VERDICTS = {
    "passed": "[bold green]PASSED[/]",
    "failed": "[bold red]FAILED[/]",
    "interrupted": "[bold yellow]INTERRUPTED[/]",
    "not-reproducible": "[bold yellow]NOT REPRODUCIBLE HERE[/]",
}
OWN_CODE = "/kaggle/src/"
LOG_LINES = 4  # printed of a traceback; the report has more
NO_VIDEO_OPENED = (
    "the submission opened no video, so the hard inputs tested nothing but file names and rows; "
    "rehearse again once it reads videos"
)


def show(report: RehearsalReport, folder: Path) -> None:
    """Print the summary of the rehearsal in `folder`."""
    time_s = sum(step.wall_time_s for step in report.steps)
    counts = f"{plural(report.count(ERROR), 'error')}, {plural(report.count(WARNING), 'warning')}"
    steps = f"{plural(len(report.steps), 'run')}, {time_s:.0f} s"
    out.print()
    _print(f"{VERDICTS[report.outcome]}: {plain(report.submission)}: {counts} ({steps})")
    _print_rows(report)
    if report.opens_no_video:
        _print(f"[yellow]note:[/] {NO_VIDEO_OPENED}")
    for code, why in report.left_out.items():
        _print(f"[yellow]left out:[/] {code}: {plain(why)}")
    for severity in (ERROR, WARNING, UNKNOWN):
        _print_findings([one for one in report.findings if one.severity is severity and one.fix], folder)
        for one in report.comparisons:
            if one.severity is severity:
                _print(f"[bold {COLOURS[severity]}]{severity.value}[/] [bold]{one.what}[/]: {plain(_difference(one))}")
                _print(f"[bold]fix:[/] {one.fix}", indent=4)
    _print(f"report: {plain(str(shown(folder / FILE)))}")


def _print_rows(report: RehearsalReport) -> None:
    """A row for each outcome with the inputs that had it, then a row for each comparison."""
    codes: dict[tuple[RehearsalSeverity, str], list[str]] = {}
    for finding in report.findings:
        codes.setdefault((finding.severity, finding.outcome.value), []).append(finding.code)
    kinds = sorted(codes, key=lambda kind: list(COLOURS).index(kind[0]))
    rows = [(kind[0], f"{kind[1]} ({len(codes[kind])})", ", ".join(codes[kind])) for kind in kinds]
    rows += [(one.severity, one.what, _difference(one)) for one in report.comparisons]
    width = max(len(label) for _, label, _ in rows)
    for severity, label, text in rows:
        lines = [text] if out.soft_wrap else textwrap.wrap(text, max(out.width - width - 2, 20), break_on_hyphens=False)
        out.print(f"[{COLOURS[severity]}]{label:{width}}[/]  {plain(lines[0])}")
        for line in lines[1:]:
            out.print(f"{'':{width}}  {plain(line)}")


def _difference(comparison: Comparison) -> str:
    if not comparison.differing:
        return f"identical predictions for {plural(comparison.compared, 'video')}"
    differing = f"{comparison.differing} of {plural(comparison.compared, 'prediction')} differ"
    return f"{differing}, by up to {comparison.largest:.3g} ({comparison.where})"


def _print_findings(findings: list[RehearsalFinding], folder: Path) -> None:
    """One block for all inputs with the same outcome and the same fix; the log of the first of them."""
    for (outcome, fix), group in groupby(sorted(findings, key=_kind), key=_kind):
        same = list(group)
        first = same[0]
        kaggle = f" (Kaggle: {first.kaggle})" if first.severity is ERROR else ""
        codes = ", ".join(one.code for one in same)
        label = f"[bold {COLOURS[first.severity]}]{first.severity.value}[/] [bold]{outcome}[/]"
        _print(f"{label}: {plain(codes)}{plain(kaggle)}")
        for line in _shown_lines(first):
            _print(f"[dim]|[/] {plain(line)}", indent=4)
        _print(f"[bold]fix:[/] {plain(fix)}", indent=4)
        where = f" ({first.code} is {first.name})" if first.name else ""
        _print(f"[dim]log:[/] {plain(str(shown(folder / first.run / LOG)))}{plain(where)}", indent=4)


def _shown_lines(finding: RehearsalFinding) -> list[str]:
    """The last frame in the submission's own code and the error; else the last lines, or why it failed."""
    lines = finding.log_lines
    own = [at for at, line in enumerate(lines) if f'File "{OWN_CODE}' in line]
    if own and len(lines) - own[-1] > LOG_LINES:
        return [*lines[own[-1] : own[-1] + 2], "    ...", lines[-1]]
    return lines[-LOG_LINES:] or [finding.detail] * bool(finding.detail)


def _kind(finding: RehearsalFinding) -> tuple[str, str]:
    return finding.outcome.value, finding.fix


def _print(text: str, indent: int = 0) -> None:
    """One paragraph: wrapped with its indent on a terminal, one line where the output is piped."""
    if out.soft_wrap:
        return out.print(" " * indent + text)
    return out.print(Padding(text, (0, 0, 0, indent), expand=False))
