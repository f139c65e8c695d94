"""`dfdc history`: past runs, scores, rehearsals, robustness reports and submissions, with local and official scores."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, RunsOption, out, plain, print_json

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
    on the same data, and the official score that the same code got at Kaggle.

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
    """A line per event, and its message on a line below; no wider than 80 columns where the names allow it."""
    rows = [("id", "outcome", "data set", "local", "vs best", "Kaggle")]
    rows += [
        (
            _name(event),
            _outcome(event),
            _data(event),
            _score(event.local_score),
            _gap(event),
            _score(event.official_score),
        )
        for event in events
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row, shown in zip(rows, [None, *events], strict=True):
        left = "  ".join(f"{cell:<{width}}" for cell, width in zip(row[:3], widths[:3], strict=True))
        right = "  ".join(f"{cell:>{width}}" for cell, width in zip(row[3:], widths[3:], strict=True))
        line = plain(f"{left}  {right}")
        out.print(f"[bold]{line}[/]" if shown is None else line, soft_wrap=True)
        if shown is not None and shown.message:
            out.print(f"  [dim]{plain(shown.message)}[/]", soft_wrap=True)


def _name(event: "Event") -> str:
    """The id; a score's is its time and file, in the form of a run id."""
    from dfdc_kit.report.history import Kind

    if event.kind is not Kind.SCORE:
        return event.name
    return f"{event.happened[:19].translate(str.maketrans('T', '-', '-:'))}-{event.submission}"


def _outcome(event: "Event") -> str:
    from dfdc_kit.report.history import Kind

    if event.kind is Kind.RUN:
        return event.outcome
    return event.kind.value if event.kind is Kind.SCORE else f"{event.kind.value} {event.outcome}"


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
