"""The leaderboard: Kaggle's own if it can be fetched, else the last saved copy, else what is known of the final one."""

import math
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
LOG_LOSS = "log loss"
WORST_LOG_LOSS = 34.54  # every prediction wrong and certain
NORMAL_95 = 1.96
CAVEAT = (
    "Local sets are easier than the hidden test set: participants with 0.2 on their own validation set scored 0.4 to"
    " 0.6 there. This is the place of the same score in the hidden test."
)
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
    """Where a score would rank.

    `best` and `worst` follow from the known rows alone. `likely_best` and `likely_worst` also say what is assumed about
    the unknown rows (see `basis`) and contain the uncertainty of the score, where it is known.
    """

    score: float
    best: int  # the place; a range from `best` to `worst` where rows in between are unknown
    worst: int
    ahead: LeaderboardRow | None  # the nearest known row before it
    behind: LeaderboardRow | None
    likely_best: int
    likely_worst: int
    interval: tuple[float, float] | None  # 95 % interval of the score; None: not known
    basis: str  # what `likely_best` and `likely_worst` assume about unknown rows; empty: nothing
    caveat: str = CAVEAT


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


def interval_for_rows(score: float, rows: int) -> tuple[float, float]:
    """A rough 95 % interval of a log loss over `rows` videos, of which no more is known than the mean.

    Assumes that the losses spread as widely as their mean is large, as in an exponential distribution. Raises
    UsageError for fewer than one row.

    >>> [round(end, 4) for end in interval_for_rows(0.43, 4000)]
    [0.4167, 0.4433]
    """
    if rows < 1:
        raise UsageError(f"--rows: seen {rows}, expected 1 or more.")
    half = NORMAL_95 * score / math.sqrt(rows)
    return max(score - half, 0.0), score + half


def place(score: float, on: Board, *, lower_is_better: bool, interval: tuple[float, float] | None = None) -> BoardPlace:
    """Where `score` would rank: behind every row with the same score. Raises UsageError for what is no score."""
    if not math.isfinite(score) or (on.metric == LOG_LOSS and score < 0):
        raise UsageError(f"--place: seen {score:g}, expected a score.", hint="For example: --place 0.46")
    ends = interval or (score, score)
    likely = [_likely(end, on, lower_is_better) for end in ends]
    best, worst, ahead, behind = _known(score, on, lower_is_better)
    return BoardPlace(
        score=score,
        best=best,
        worst=worst,
        ahead=ahead,
        behind=behind,
        likely_best=min(low for low, _, _ in likely),
        likely_worst=max(high for _, high, _ in likely),
        interval=interval,
        basis=next((basis for _, _, basis in reversed(likely) if basis), ""),
    )


def _known(
    score: float, on: Board, lower_is_better: bool
) -> tuple[int, int, LeaderboardRow | None, LeaderboardRow | None]:
    """Best and worst place by the known rows, and the nearest row ahead and behind."""
    sign = 1 if lower_is_better else -1
    ahead = [row for row in on.rows if sign * row.score <= sign * score]
    behind = [row for row in on.rows if not sign * row.score <= sign * score]
    last, first = (ahead[-1] if ahead else None), (behind[0] if behind else None)
    return last.place + 1 if last else 1, first.place if first else on.teams[1] + 1, last, first


def _likely(score: float, on: Board, lower_is_better: bool) -> tuple[int, int, str]:
    """The range of places of a score where rows are unknown, narrowed by an assumption; and the assumption."""
    best, worst, ahead, behind = _known(score, on, lower_is_better)
    if best == worst or ahead is None or not ahead.score > 0:
        return best, worst, ""
    if behind is not None:
        share = (score - ahead.score) / (behind.score - ahead.score)
        linear = ahead.place + share * (behind.place - ahead.place)
        logarithmic = ahead.place * (behind.place / ahead.place) ** share
        basis = f"places between {ahead.place:,} and {behind.place:,} interpolated"
        return _within(min(linear, logarithmic), max(linear, logarithmic), best, worst, basis)
    before = [row for row in on.rows if row.score < ahead.score]
    if on.metric != LOG_LOSS or not lower_is_better or not before:
        return best, worst, ""
    steepness = (score - ahead.score) / (ahead.score - before[-1].score)
    trend = ahead.place * min((ahead.place / before[-1].place) ** min(steepness, 99.0), 1e9)
    spread = math.log(score / ahead.score) / math.log(WORST_LOG_LOSS / ahead.score)
    fewest = ahead.place + spread * (on.teams[0] - ahead.place)
    basis = (
        f"no row behind place {ahead.place:,} is known: between the trend of the known rows, and scores spread"
        f" evenly, on a logarithmic scale, up to {WORST_LOG_LOSS}"
    )
    return _within(min(trend, fewest), max(trend, fewest), best, worst, basis)


def _within(low: float, high: float, best: int, worst: int, basis: str) -> tuple[int, int, str]:
    """A range of places, rounded outwards, within what the known rows leave possible."""
    return min(max(math.floor(low), best), worst), max(min(math.ceil(high) + 1, worst), best), basis
