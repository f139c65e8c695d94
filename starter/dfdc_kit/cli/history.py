"""Commands about past runs: `dfdc history`, `dfdc open` and `dfdc rejudge`."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, RunArgument, RunsOption, out, plain, print_json

if TYPE_CHECKING:
    from dfdc_kit.report.history import Event


class KindChoice(StrEnum):
    """The values of report.history.Kind, repeated: importing it would make every --help slower."""

    RUN = "run"
    SCORE = "score"
    REHEARSAL = "rehearsal"
    ROBUSTNESS = "robustness"
    SUBMISSION = "submission"


def history(
    kind: Annotated[KindChoice | None, typer.Option("--kind", "-k", help="Only entries of this kind.")] = None,
    submission: Annotated[
        str,
        typer.Option("--submission", metavar="NAME", help="Only this submission: the start of its name or SHA-256."),
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Not older than this: 7d, 36h, 2w, or a date (UTC).")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=0, help="Number of entries; 0: all.")] = 20,
    runs: RunsOption = Path("runs"),
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what was run, scored, rehearsed and submitted.

    Newest first: id, outcome, data set, local score, its difference to the best
    on the same data, and the official score of the same code, if there is one.

    Examples:

        dfdc history --kind run
        dfdc history --submission my-detector --since 7d
        dfdc history --limit 0 --csv > history.csv
    """
    from dfdc_kit.errors import UsageError
    from dfdc_kit.report import history
    from dfdc_kit.report.history import Kind

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other.", hint="Choose one.")
    events = history.read(
        runs,
        kind=Kind(kind.value) if kind else None,
        submission=submission,
        since=history.parse_since(since) if since else "",
        limit=limit or None,
    )
    if as_json:
        print_json(events)
    elif as_csv:
        sys.stdout.write(history.as_csv(events))
    elif events:
        _show(events)
    else:
        found = "No entries match" if kind or submission or since else "No history yet"
        out.print(f"{found}: {plain(str(runs / history.FILE))}", soft_wrap=True)
        out.print(f"  next: {history.FIRST_RUN}")


def _show(events: "list[Event]") -> None:
    """A line per event, and its message on a line below. On a terminal, an id that is too long has its own line."""
    columns = [
        ["id", *map(_name, events)],
        ["outcome", *map(_outcome, events)],
        ["data set", *map(_data, events)],
        ["local", *(_score(event.local_score) for event in events)],
        ["vs best", *map(_gap, events)],
    ]
    if any(event.official_score is not None for event in events):
        columns.append(["Kaggle", *(_score(event.official_score) for event in events)])
    widths = [max(map(len, column)) for column in columns]
    if out.is_terminal:
        fits = max(out.width - sum(widths[1:]) - 2 * (len(widths) - 1), len("id"))
        widths[0] = max(len(name) for name in columns[0] if len(name) <= fits)
    for row, event in zip(zip(*columns, strict=True), [None, *events], strict=True):
        cells = [
            f"{cell:<{w}}" if at < 3 else f"{cell:>{w}}" for at, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        own_line = len(row[0]) > widths[0]
        lines = [row[0], "  ".join([" " * widths[0], *cells[1:]])] if own_line else ["  ".join(cells)]
        for line in lines:
            out.print(f"[bold]{plain(line)}[/]" if event is None else plain(line), soft_wrap=True)
        if event is not None and event.message:
            out.print(f"  [dim]{plain(event.message)}[/]", soft_wrap=True)


def _name(event: "Event") -> str:
    """The id; a score's is its time and file, in the form of a run id."""
    from dfdc_kit.report.history import Kind

    if event.kind is not Kind.SCORE:
        return event.name
    return f"{event.happened[:19].translate(str.maketrans('T', '-', '-:'))}-{event.submission}"


def _outcome(event: "Event") -> str:
    """How it ended; of a score, that it is one: the ids of all others show what they are."""
    return "score" if event.kind.value == "score" else event.outcome


def _data(event: "Event") -> str:
    """The folder that the data is in: `sample_data` for sample_data/solution/solution.csv."""
    parts = [part for part in Path(event.data).parts if part not in ("solution", "solution.csv", "metadata.json")]
    return parts[-1] if parts else "-"


def _gap(event: "Event") -> str:
    """The difference of the local score to the best one on the same data."""
    if event.local_score is None or event.best_local_score is None:
        return "-"
    gap = event.local_score - event.best_local_score
    return "best" if gap == 0 else f"{gap:+.5f}"


def _score(score: float | None) -> str:
    from dfdc_kit.scoring.metric import displayed

    return "-" if score is None else displayed(score)


def open_report(run: RunArgument = "last", runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """Open the report of a run in the browser.

    Prints the path of the report; with --json, or without a browser, nothing is
    opened.

    Examples:

        dfdc open
        dfdc open 20261124-031248-frame-stats
    """
    import webbrowser

    from dfdc_kit.report.history import find_run
    from dfdc_kit.report.html import write
    from dfdc_kit.report.run_report import PAGE, load

    folder = find_run(runs, run)
    page = folder / PAGE
    if not page.is_file():
        write(load(folder), folder)
    if as_json:
        return print_json({"report": page})
    out.print(plain(str(page)), soft_wrap=True)
    if _has_display():
        webbrowser.open(page.resolve().as_uri())
    return None


def _has_display() -> bool:
    """Whether a browser window can appear: a text browser would take over the terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def rejudge(
    run: RunArgument = "last",
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Judge a finished run again from its saved files.

    Exit code 1 if any result differs.

    Examples:

        dfdc rejudge last
        dfdc rejudge 20261124-031248-frame-stats
    """
    from dfdc_kit.harness.judge import rejudge as judge_again
    from dfdc_kit.report.history import find_run

    second = judge_again(find_run(runs, run))
    if as_json:
        print_json(second)
    else:
        judgement = second.judgement
        out.print(f"{second.run_id}: {judgement.verdict.value} {plain(judgement.why)}".rstrip(), soft_wrap=True)
        if second.score is not None:
            out.print(f"score {second.score.displayed} (in full {second.score.value!r})", soft_wrap=True)
        if second.not_repeated:
            out.print(f"[yellow]not repeated[/]: {plain(second.not_repeated)}", soft_wrap=True)
        differences = ", ".join(second.differences)
        out.print(f"DIFFERENT: {differences}" if differences else "IDENTICAL, bit for bit")
    if second.differences:
        raise typer.Exit(1)
