"""The leaderboard: Kaggle's own where it can be asked, else the last copy of it, else what is known of the final."""

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

PAGE = 200  # rows
MOST_PAGES = 500


class LeaderboardRow(msgspec.Struct, frozen=True, kw_only=True):
    """One team on the leaderboard."""

    team: str
    score: str  # as Kaggle writes it
    submitted: str = ""  # ISO 8601


def leaderboard(kaggle: Kaggle, slug: str) -> list[LeaderboardRow]:
    """All rows in Kaggle's order, page after page. Raises KaggleError."""
    found: list[LeaderboardRow] = []
    token = ""
    for _ in range(MOST_PAGES):
        answer = kaggle.call("reading the leaderboard", lambda api: _page(api, slug, token), slug=slug)  # noqa: B023
        found += [
            LeaderboardRow(
                team=row.team_name or "",
                score=row.score or "",
                submitted=row.submission_date.isoformat() if row.submission_date else "",
            )
            for row in answer.submissions or []
        ]
        if not answer.next_page_token or answer.next_page_token == token:
            break
        token = answer.next_page_token
    return found


def _page(api: Any, slug: str, token: str) -> Any:
    from kagglesdk.competitions.types.competition_api_service import ApiGetLeaderboardRequest

    request = ApiGetLeaderboardRequest()
    request.competition_name, request.page_size, request.page_token = slug, PAGE, token
    with api.build_kaggle_client() as client:
        return client.competitions.competition_api_client.get_leaderboard(request)


FINAL = Path(__file__).with_name("final_board.toml")
FETCHED = "as Kaggle shows it"


class BoardRow(Settings, frozen=True, kw_only=True):
    """One team's place."""

    place: int
    team: str  # empty: not known
    score: float
    submitted: str = ""
    vouched: str = ""  # who says so, where it is not Kaggle


class Board(Settings, frozen=True, kw_only=True):
    """A leaderboard, best first; rows may be missing where `teams` says that there are more."""

    title: str
    metric: str
    teams: tuple[int, int]  # how many there are, at least and at most
    source: str
    as_of: str  # ISO 8601
    rows: list[BoardRow]


class BoardPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a score would stand."""

    score: float
    best: int  # the place, if no row in between is unknown ...
    worst: int  # ... else it lies from `best` to `worst`
    ahead: BoardRow | None  # the nearest known row before it
    behind: BoardRow | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A board, and what is to be said about it."""

    board: Board
    fresh: bool  # fetched just now
    note: str = ""


def board(challenge: Challenge, connect: Callable[[], Kaggle], *, offline: bool = False) -> Shown:
    """The freshest board that can be had. A fetched one is kept in the cache folder, in a file of its own."""
    kept = cache_folder() / f"leaderboard-{challenge.slug}.json"
    if offline:
        return _older(kept, challenge, "")
    try:
        rows = _rows(leaderboard(connect(), challenge.slug))
        if not rows:
            return _older(kept, challenge, "no fresh leaderboard: Kaggle shows no rows")
    except KaggleError as fault:
        return _older(kept, challenge, f"no fresh leaderboard: {fault} {fault.hint}".strip())
    fetched = Board(
        title=f"leaderboard of {challenge.slug}",
        metric=challenge.metric.name,
        teams=(len(rows), len(rows)),
        source=FETCHED,
        as_of=now(),
        rows=rows,
    )
    try:
        write_json(kept, fetched)
    except OutputError as fault:
        return Shown(board=fetched, fresh=True, note=f"not kept for later: {fault}")
    return Shown(board=fetched, fresh=True)


def final_board() -> Board:
    """What is known of the challenge's final private board."""
    return read_toml(FINAL, Board)


def place(score: float, on: Board, *, lower_is_better: bool) -> BoardPlace:
    """Where `score` would stand on a board: behind every row that is as good. Raises UsageError for NaN."""
    if score != score:
        raise UsageError("A score that is no number has no place.", hint="For example: --place 0.46")
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


def _older(kept: Path, challenge: Challenge, note: str) -> Shown:
    """The copy of the last time; without one, or with one that cannot be read, the final board.

    Raises DataMissingError if nothing is known of a board of this challenge.
    """
    try:
        return Shown(board=msgspec.json.decode(kept.read_bytes(), type=Board), fresh=False, note=note)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.DecodeError) as error:
        note = f"{note} {kept} cannot be read: {error}".strip()
    if challenge.slug != challenges.load(challenges.BUNDLED).slug:
        raise DataMissingError(f"No leaderboard of {challenge.slug} is known here. {note}".strip())
    return Shown(board=final_board(), fresh=False, note=note)


def _rows(standings: list[LeaderboardRow]) -> list[BoardRow]:
    """Kaggle's rows with their places. Raises KaggleError for a score that is no number."""
    found = []
    for at, one in enumerate(standings, 1):
        try:
            found.append(BoardRow(place=at, team=one.team, score=float(one.score), submitted=one.submitted))
        except ValueError as error:
            raise KaggleError(
                f"BoardPlace {at} of Kaggle's leaderboard has the score {one.score!r}.", reason="client"
            ) from error
    return found
