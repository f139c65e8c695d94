"""`dfdc leaderboard`: the leaderboard, and where a score would rank."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json, warn

if TYPE_CHECKING:
    from rich.table import Table

    from dfdc_kit.kaggle import Kaggle
    from dfdc_kit.kaggle.leaderboard import Board, BoardPlace, LeaderboardRow


def leaderboard(
    top: Annotated[int, typer.Option("--top", "-n", metavar="N", min=0, help="Number of rows; 0: all.")] = 10,
    score: Annotated[
        float | None, typer.Option("--place", metavar="SCORE", help="Show the rank of this score.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask Kaggle; use the last copy or the final leaderboard.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the leaderboard, and where a score would rank.

    Fetched from Kaggle; without a connection, the last copy; without a copy,
    what is known of the final private leaderboard.

    Examples:

        dfdc leaderboard --top 20
        dfdc leaderboard --offline --place 0.46
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.kaggle.leaderboard import board, place

    def connect() -> "Kaggle":
        from dfdc_kit.kaggle import connect

        return connect()

    challenge = challenges.load()
    view = board(challenge, connect, offline=offline)
    rank = None if score is None else place(score, view.board, lower_is_better=challenge.metric.lower_is_better)
    if as_json:
        return print_json({"board": view.board, "fresh": view.fresh, "note": view.note, "place": rank})
    if view.note:
        warn(view.note)
    return _show(view.board, top, rank)


def _show(board: "Board", top: int, rank: "BoardPlace | None") -> None:
    out.print(f"[bold]{plain(board.title)}[/] ({board.metric})")
    out.print(f"{plain(board.source)}; as of {board.as_of[:16]}\n")
    rows = board.rows[: top or None]
    out.print(_table(rows))
    low, high = board.teams
    of = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    out.print(f"\n{len(rows)} of {of} teams")
    if rank is not None:
        out.print(_rank_sentence(rank), soft_wrap=True)


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

    exact = rank.best == rank.worst
    where = f"place {rank.best:,}" if exact else f"place {rank.best:,} to {rank.worst:,}"
    near = [
        f"{word} {displayed(row.score)} (place {row.place:,})"
        for word, row in (("behind", rank.ahead), ("ahead of", rank.behind))
        if row is not None
    ]
    return f"{rank.score:g} would rank at [bold]{where}[/], {', '.join(near)}"
