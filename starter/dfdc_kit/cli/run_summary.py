"""The summary of a run, for a person: verdict, score, time, memory, limits, where everything lies, what to do next."""

from collections.abc import Iterator
from pathlib import Path

from rich.padding import Padding
from rich.table import Table

from dfdc_kit.cli.console import out, plain, shown, typed
from dfdc_kit.files import bundled
from dfdc_kit.formatting import plural
from dfdc_kit.harness.forecast.summary import outlook_lines, passes_at
from dfdc_kit.report.run_report import CSV, FALLBACKS, FILE, LOG, PAGE, RunReport, cautions
from dfdc_kit.report.verdicts import Verdict

MIB, GIB = 2**20, 2**30


def show(report: RunReport, folder: Path) -> None:
    """Print the summary of the run whose files lie in `folder`."""
    judgement = report.judgement
    good = judgement.verdict is Verdict.COMPLETE
    colour = "green" if good else "red"
    kaggle = f"Kaggle: {judgement.kaggle}" if judgement.kaggle else "no verdict of Kaggle's"
    out.print(f"\n[bold]{report.submission}[/]: [bold {colour}]{judgement.verdict.value}[/] ({kaggle})", soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for row in (*_verdict_rows(report), *_score_rows(report), *_usage_rows(report), *_caution_rows(report)):
        table.add_row(*row)
    if Path(report.data_folder) == bundled("sample_data"):
        table.add_row("note", "the bundled sample tests the pipeline; a score on it says nothing about a detector")
    table.add_row("files", plain(f"{shown(folder)}/: {', '.join(_files(folder))}"))
    out.print(Padding(table, (0, 0, 0, 2)))
    out.print(f"  next: {plain(_next(report, folder))}", soft_wrap=True)  # one line, however long: to be copied


def _verdict_rows(report: RunReport) -> Iterator[tuple[str, str]]:
    if report.judgement.why:
        yield "why", plain(report.judgement.why)
    if report.judgement.fix:
        yield "fix", plain(report.judgement.fix)


def _score_rows(report: RunReport) -> Iterator[tuple[str, str]]:
    score, partial = report.score, report.partial_score
    if partial is not None:
        rest = f"with {partial.fill_value:g} in {plural(report.rows - partial.rows_written, 'other')}"
        yield "partial", f"{partial.rows_written} of {plural(report.rows, 'row')} written; {rest}: {partial.displayed}"
    if score is None:
        if report.judgement.verdict is Verdict.COMPLETE:
            yield "score", "unknown: no solution at hand; give one with --solution"
        return
    better = "lower is better" if report.challenge.metric.lower_is_better else "higher is better"
    yield "score", f"[bold]{score.displayed}[/] {report.challenge.metric.name}, {better} (in full {score.value!r})"
    for name, part in score.parts.items():
        yield f"  {name.lower()}", f"{part.displayed} on {plural(part.rows, 'video')}"


def _usage_rows(report: RunReport) -> Iterator[tuple[str, str]]:
    usage, profile = report.observation.outcome.usage, report.profile
    allowed = profile.seconds_per_video
    budget = f"; {report.profile_name} allows {allowed:.2f} s" if allowed else ""
    each = f"{report.seconds_per_video:.2f} s a video here{budget}"
    whole = f"{usage.wall_time_s:.1f} s for {plural(report.rows, 'video')}: {each}"
    yield "time", whole if report.judgement.verdict is Verdict.COMPLETE else f"{usage.wall_time_s:.1f} s, not complete"
    for name, said in outlook_lines(report.forecast) if report.forecast else ():  # what it rests on is in the report
        yield f"  {name}", plain(said)
    if said := " and ".join(cautions(report.observation.noise)):
        yield "", f"[yellow]{said}: times are not firm[/]"
    limit = f" of {profile.limits.memory_bytes / GIB:.0f}" if profile.limits.memory_bytes else ""
    growth = report.memory_growth
    if growth is not None and growth.leaks:
        low, high = growth.low_bytes / MIB, growth.high_bytes / MIB
        yield "leak", f"[yellow]memory grows by {low:.2f} to {high:.2f} MiB a video[/]"
        at = passes_at(growth, profile.limits.memory_bytes) if profile.limits.memory_bytes else None
        if at is not None:
            yield "", f"[yellow]it would pass the limit between video {at[0]:,} and {at[1]:,}[/]"
    peak = "unknown" if usage.peak_memory_bytes is None else f"{usage.peak_memory_bytes / GIB:.2f}"
    yield "memory", f"{peak}{limit} GiB at its peak (sampled)"
    if usage.gpu is not None:
        limit = f" of {profile.limits.gpu_memory_bytes / GIB:.0f}" if profile.limits.gpu_memory_bytes else ""
        held = f"{usage.gpu.peak_memory_bytes / GIB:.2f}{limit} GiB at its peak"
        busy = "" if usage.gpu.busy_share is None else f", {usage.gpu.busy_share:.0%} busy"
        told = f"{held}{busy}" if usage.gpu.samples else "the driver did not answer"
        yield "GPU", plain(f"{told} (sampled; {', '.join(usage.gpu.cards)})")


def _caution_rows(report: RunReport) -> Iterator[tuple[str, str]]:
    seen = report.observation
    fallbacks = seen.fallbacks
    if fallbacks.error:
        yield "fallbacks", f"[yellow]{FALLBACKS} not understood: {plain(fallbacks.error)}[/]"
    elif fallbacks.count:
        reasons = ", ".join(f"{count} {plain(reason)}" for reason, count in fallbacks.by_reason.items())
        yield (
            "fallbacks",
            f"[yellow]{fallbacks.count} of {plural(report.rows, 'video')} got a prior, not a prediction: {reasons}[/]",
        )
        if fallbacks.caution:
            yield "caution", f"[red]{fallbacks.caution}[/]"
    for entry in report.loss_breakdown.entries if report.loss_breakdown else ():
        cost = f"mean cost {entry.mean_loss:.5f}, {entry.share:.1%} of the whole"
        yield "ledger", f"{entry.rows} {plain(entry.what)}: {cost}"
    if seen.validation is not None:
        for violation in seen.validation.violations:
            if violation.severity == "warning":
                yield "warning", f"[yellow]{violation.code}[/] {plain(violation.message)}"
    if report.unmet_requirements:
        yield "packages", f"[yellow]needed, and not so here: {plain(', '.join(report.unmet_requirements))}[/]"
    for fault in report.manifest_problems:
        yield "manifest", f"[yellow]{plain(fault)}[/]"
    if seen.outcome.left_running:
        left = plural(seen.outcome.left_running, "process", "processes")
        yield "warning", f"[yellow]{left} of its own still ran at the end: ended with it[/]"
    if seen.reads and not seen.reads_caveat and len(seen.reads) < report.rows:
        yield "warning", f"[yellow]{report.rows - len(seen.reads)} of {plural(report.rows, 'video')} never opened[/]"
    if report.environment_diffs:
        differing = ", ".join(f"{diff.what} {diff.local} (there {diff.hosted})" for diff in report.environment_diffs)
        yield "other here", plain(f"{differing}: what that weakens stands in {FILE}")
    open_limits = [limit.limit for limit in report.enforcement if limit.status.startswith("NOT")]
    if open_limits:
        yield "not enforced", f"{', '.join(open_limits)} (backend {report.backend}; why: dfdc doctor)"


def _files(folder: Path) -> list[str]:
    return [name for name in (PAGE, FILE, LOG, CSV, FALLBACKS) if (folder / name).is_file()]


def _next(report: RunReport, folder: Path) -> str:
    csv = typed(folder / CSV)
    if report.judgement.verdict is Verdict.SCORING_ERROR and (folder / CSV).is_file():
        return f"dfdc validate {csv} --against {typed(Path(report.data_folder))}"
    if report.judgement.verdict is not Verdict.COMPLETE:
        return f"less {typed(folder / LOG)}"
    if report.score is None:
        return f"dfdc validate {csv} --against {typed(Path(report.data_folder))}"
    return f"dfdc score {csv} {typed(Path(report.solution))}"
