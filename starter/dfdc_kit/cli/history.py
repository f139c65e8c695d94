"""`dfdc history`: what was run, scored, rehearsed and handed in here, local and official score side by side."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, RunsOption, out, plain, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from dfdc_kit.report.history import Event


class KindChoice(StrEnum):
    """history.event.Kind, written out: importing it would make every --help slower."""

    RUN = "run"
    SCORE = "score"
    REHEARSAL = "rehearsal"
    HAND_IN = "hand-in"


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
    """List past runs, scores, rehearsals and submissions.

    Newest first. Next to the local score of a run is the official score that
    the same code got at Kaggle.

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
        since=history.since(since) if since else "",
        limit=limit or None,
    )
    if as_json:
        print_json(events)
    elif as_csv:
        sys.stdout.write(history.as_csv(events))
    elif events:
        out.print(_table(events))
    else:
        what = "Nothing fits" if kind or submission or since else "Nothing has happened here yet"
        out.print(
            f"{what} in {plain(str(runs / history.FILE))}.\n  next: dfdc run baselines/frame-stats", soft_wrap=True
        )


def _table(events: "list[Event]") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("submission", overflow="fold")
    table.add_column("outcome", overflow="fold")
    table.add_column("local", justify="right", no_wrap=True)
    table.add_column("official", justify="right", no_wrap=True)
    for event in events:
        when = event.happened[:16].replace("T", " ")
        scores = (_number(event.local_score), _number(event.official_score))
        table.add_row(when, event.kind.value, plain(event.submission), plain(event.outcome), *scores)
    return table


def _number(score: float | None) -> str:
    from dfdc_kit.scoring.metric import displayed

    return "-" if score is None else displayed(score)
