"""`dfdc leaderboard`: the leaderboard, and where a score would rank."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, RunsOption, out, plain, print_json, say, warn

if TYPE_CHECKING:
    from rich.table import Table

    from dfdc_kit.kaggle.client import Kaggle
    from dfdc_kit.kaggle.leaderboard import Board, BoardPlace, LeaderboardRow


def leaderboard(
    top: Annotated[int, typer.Option("--top", "-n", metavar="N", min=0, help="Number of rows; 0: all.")] = 10,
    score: Annotated[
        str | None,
        typer.Option("--place", metavar="SCORE_OR_RUN", help="Show the rank of this score, or of a run's score."),
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", metavar="N", help="Videos that --place was measured on, for its interval.")
    ] = None,
    runs: RunsOption = Path("runs"),
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask Kaggle; use the last copy or the final leaderboard.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the leaderboard, and where a score would rank.

    Fetched from Kaggle; without a connection, the last copy; without a copy,
    what is known of the final private leaderboard. Where rows are unknown, the
    rank is a range, estimated from the known ones; --rows adds the uncertainty of
    the score.

    Examples:

        dfdc leaderboard --top 20
        dfdc leaderboard --offline --place 0.46 --rows 400
        dfdc leaderboard --offline --place last
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.kaggle.leaderboard import board, place

    def connect() -> "Kaggle":
        from dfdc_kit.kaggle.client import connect

        return connect()

    challenge = challenges.load()
    view = board(challenge, connect, offline=offline)
    lower_is_better = challenge.metric.lower_is_better
    rank = None
    if score is not None:
        value, interval = _scored(score, rows, runs)
        rank = place(value, view.board, lower_is_better=lower_is_better, interval=interval)
    if as_json:
        return print_json({"board": view.board, "fresh": view.fresh, "note": view.note, "place": rank})
    if view.note:
        warn(view.note)
    return _show(view.board, top, rank)


def _scored(text: str, rows: int | None, runs: Path) -> tuple[float, tuple[float, float] | None]:
    """The score and its interval: `text` is a number or a run. Raises UsageError."""
    from dfdc_kit.errors import UsageError
    from dfdc_kit.kaggle.leaderboard import interval_for_rows
    from dfdc_kit.report.history import find_run
    from dfdc_kit.report.run_report import load

    try:
        value = float(text)
    except ValueError:
        found = load(find_run(runs, text)).score
        if found is None:
            raise UsageError(f"The run {text} has no score.", hint="Name a run with a score, or a number.") from None
        value, known = found.value, found.uncertainty and found.uncertainty.interval
        if known and not rows:
            return value, (known.low, known.high)
        rows = rows or found.rows
    return value, None if rows is None or value != value else interval_for_rows(value, rows)


def _show(board: "Board", top: int, rank: "BoardPlace | None") -> None:
    from dfdc_kit.scoring.metric import displayed

    out.print(f"[bold]{plain(board.title)}[/] ({board.metric})")
    out.print(f"{plain(board.source)}; as of {board.as_of[:16]}\n")
    rows = board.rows[: top or None]
    out.print(_table(rows))
    low, high = board.teams
    of = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    out.print(f"\n{len(rows)} of {of} teams")
    if rank is not None:
        say(_rank_sentence(rank))
        if rank.interval is not None:
            ends = " to ".join(displayed(end) for end in rank.interval)
            say(f"95 % interval of the score: {ends}; the places contain it")
        if rank.basis:
            say(f"estimated: {rank.basis}")
        say(f"[dim]{rank.caveat}[/]")


def _table(rows: "list[LeaderboardRow]") -> "Table":
    from rich.table import Table

    from dfdc_kit.scoring.metric import displayed

    table = Table("place", "team", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("score", justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(
            str(row.place), plain(row.team) or "-", displayed(row.score), plain(row.evidence or row.submitted[:10])
        )
    return table


def _rank_sentence(rank: "BoardPlace") -> str:
    from dfdc_kit.scoring.metric import displayed

    low, high = rank.likely_best, rank.likely_worst
    about = "about " if rank.basis else ""
    where = f"place {low:,}" if low == high else f"{about}place {low:,} to {high:,}"
    near = [
        f"{word} {displayed(row.score)} (place {row.place:,})"
        for word, row in (("behind", rank.ahead), ("ahead of", rank.behind))
        if row is not None
    ]
    return f"{rank.score:g} would rank at [bold]{where}[/], {', '.join(near)}"
