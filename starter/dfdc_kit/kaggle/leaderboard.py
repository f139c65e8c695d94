"""The leaderboard: Kaggle's own if it can be fetched, else the last saved copy, else what is known of the final one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit import challenge as challenges
from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import DataMissingError, KaggleError, OutputError, UsageError
from dfdc_kit.files import cache_folder, write_json
from dfdc_kit.kaggle.client import Kaggle
from dfdc_kit.report.history import now
from dfdc_kit.settings import Settings, read_toml

PAGE_SIZE = 200  # rows
MOST_PAGES = 500
FINAL = Path(__file__).with_name("final_board.toml")


class LeaderboardRow(Settings, frozen=True, kw_only=True):
    """One team's place."""

    place: int
    team: str  # empty: unknown
    score: float
    submitted: str = ""  # ISO 8601
    evidence: str = ""  # where the row comes from, if not from Kaggle


class Board(Settings, frozen=True, kw_only=True):
    """A leaderboard, best first; `rows` may be fewer than `teams`."""

    title: str
    metric: str
    teams: tuple[int, int]  # how many there are, at least and at most
    source: str
    as_of: str  # ISO 8601
    rows: list[LeaderboardRow]


class BoardPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a score would rank."""

    score: float
    best: int  # the place; a range from `best` to `worst` where rows in between are unknown
    worst: int
    ahead: LeaderboardRow | None  # the nearest known row before it
    behind: LeaderboardRow | None


class BoardView(msgspec.Struct, frozen=True, kw_only=True):
    """A board, and a remark on where it comes from."""

    board: Board
    fresh: bool  # fetched just now
    note: str = ""


def fetch_rows(kaggle: Kaggle, slug: str) -> list[LeaderboardRow]:
    """All rows in Kaggle's order, page after page. Raises KaggleError."""
    found: list[LeaderboardRow] = []
    token = ""
    for _ in range(MOST_PAGES):
        answer = kaggle.call("reading the leaderboard", lambda api: _page(api, slug, token), slug=slug)  # noqa: B023
        found += [_row(row, place) for place, row in enumerate(answer.submissions or [], len(found) + 1)]
        if not answer.next_page_token or answer.next_page_token == token:
            break
        token = answer.next_page_token
    return found


def _page(api: Any, slug: str, token: str) -> Any:
    from kagglesdk.competitions.types.competition_api_service import ApiGetLeaderboardRequest

    request = ApiGetLeaderboardRequest()
    request.competition_name, request.page_size, request.page_token = slug, PAGE_SIZE, token
    with api.build_kaggle_client() as client:
        return client.competitions.competition_api_client.get_leaderboard(request)


def _row(row: Any, place: int) -> LeaderboardRow:
    try:
        score = float(row.score or "")
    except ValueError:
        message = f"Row {place} of Kaggle's leaderboard has the score {row.score!r}, which is not a number."
        raise KaggleError(message, reason="client") from None
    submitted = row.submission_date.isoformat() if row.submission_date else ""
    return LeaderboardRow(place=place, team=row.team_name or "", score=score, submitted=submitted)


def board(challenge: Challenge, connect: Callable[[], Kaggle], *, offline: bool = False) -> BoardView:
    """The freshest board available. A fetched one is saved in the cache folder.

    Raises DataMissingError if no board of this challenge is known.
    """
    saved = cache_folder() / f"leaderboard-{challenge.slug}.json"
    if offline:
        return _saved(saved, challenge, "")
    try:
        rows = fetch_rows(connect(), challenge.slug)
        if not rows:
            return _saved(saved, challenge, "no fresh leaderboard: Kaggle shows no rows")
    except KaggleError as error:
        return _saved(saved, challenge, f"no fresh leaderboard: {error} {error.hint}".strip())
    fetched = Board(
        title=f"leaderboard of {challenge.slug}",
        metric=challenge.metric.name,
        teams=(len(rows), len(rows)),
        source="as Kaggle shows it",
        as_of=now(),
        rows=rows,
    )
    try:
        write_json(saved, fetched)
    except OutputError as error:
        return BoardView(board=fetched, fresh=True, note=f"not saved: {error}")
    return BoardView(board=fetched, fresh=True)


def _saved(path: Path, challenge: Challenge, note: str) -> BoardView:
    """The saved copy; without a readable one, the final board of the bundled challenge."""
    try:
        return BoardView(board=msgspec.json.decode(path.read_bytes(), type=Board), fresh=False, note=note)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError) as error:
        note = f"{note} Cannot read {path}: {error}".strip()
    if challenge.slug != challenges.load(challenges.BUNDLED).slug:
        raise DataMissingError(f"No leaderboard of {challenge.slug} is known. {note}".strip())
    return BoardView(board=final_board(), fresh=False, note=note)


def final_board() -> Board:
    """What is known of the challenge's final private leaderboard."""
    return read_toml(FINAL, Board)


def place(score: float, on: Board, *, lower_is_better: bool) -> BoardPlace:
    """Where `score` would rank: behind every row with the same score. Raises UsageError for NaN."""
    if score != score:
        raise UsageError("--place needs a number, seen NaN.", hint="For example: --place 0.46")
    sign = 1 if lower_is_better else -1
    ahead = [row for row in on.rows if sign * row.score <= sign * score]
    behind = [row for row in on.rows if not sign * row.score <= sign * score]
    last, first = (ahead[-1] if ahead else None), (behind[0] if behind else None)
    return BoardPlace(
        score=score,
        best=last.place + 1 if last else 1,
        worst=first.place if first else on.teams[1] + 1,
        ahead=last,
        behind=first,
    )
