"""`dfdc leaderboard`: the board as far as it can be had, and where a score would stand on it."""

from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json, warn

if TYPE_CHECKING:
    from rich.table import Table

    from dfdc_kit.kaggle import Kaggle
    from dfdc_kit.kaggle.leaderboard import Board, BoardPlace, BoardRow


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
    shown = board(challenge, connect, offline=offline)
    standing = None if score is None else place(score, shown.board, lower_is_better=challenge.metric.lower_is_better)
    if as_json:
        return print_json({"board": shown.board, "fresh": shown.fresh, "note": shown.note, "place": standing})
    if shown.note:
        warn(shown.note)
    return _show(shown.board, top, standing)


def _show(board: "Board", top: int, standing: "BoardPlace | None") -> None:
    out.print(f"[bold]{plain(board.title)}[/] ({board.metric})")
    out.print(f"{plain(board.source)}; as of {board.as_of[:16]}\n")
    rows = board.rows[: top or None]
    out.print(_table(rows))
    low, high = board.teams
    of = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    out.print(f"\n{len(rows)} of {of} teams")
    if standing is not None:
        out.print(_sentence(standing), soft_wrap=True)


def _table(rows: "list[BoardRow]") -> "Table":
    from rich.table import Table

    from dfdc_kit.scoring.metric import displayed

    table = Table("place", "team", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("score", justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(
            str(row.place), plain(row.team) or "-", displayed(row.score), plain(row.vouched or row.submitted[:10])
        )
    return table


def _sentence(standing: "BoardPlace") -> str:
    from dfdc_kit.scoring.metric import displayed

    exact = standing.best == standing.worst
    where = f"place {standing.best:,}" if exact else f"place {standing.best:,} to {standing.worst:,}"
    near = [
        f"{word} {displayed(row.score)} (place {row.place:,})"
        for word, row in (("behind", standing.ahead), ("before", standing.behind))
        if row is not None
    ]
    return f"{standing.score:g} would stand at [bold]{where}[/], {', '.join(near)}"
