"""The board of a competition: one row a team, from judged submissions; as record, CSV and static site.

Public and private boards are made from different rows of the solution. What a public board contains comes from the
Public rows alone. Nothing of the time, the machine or the engine enters a board: the same results give the same bytes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.competition.predictions import Floats, Predictions, read_predictions
from dfdc_kit.competition.ranking import FEWEST_FOR_FIELD, Ranking, ladder, rank_teams, similar_pairs
from dfdc_kit.competition.results import JudgedSubmission, prediction_file
from dfdc_kit.competition.rules import Competition
from dfdc_kit.data.solution import Solution
from dfdc_kit.errors import DataError
from dfdc_kit.files import file_sha256
from dfdc_kit.formatting import plural
from dfdc_kit.scoring.intervals import FEWEST_TO_RANK
from dfdc_kit.scoring.metric import LoadedMetric, displayed

Part = Literal["public", "private"]
RESAMPLES = 1_000
CHANCE_DIGITS = 4


class BoardRow(msgspec.Struct, frozen=True, kw_only=True):
    """A team, or a baseline, with the submission that counts for it. Ranks are None where there is no rank."""

    rank: int | None = None
    rank_low: int | None = None  # 95 % interval of the rank
    rank_high: int | None = None
    tied_from: int | None = None  # ranks of the teams between which these rows show no difference
    tied_to: int | None = None
    team: str
    submission: str
    status: Literal["ranked", "baseline", "disqualified", "not scored"]
    reason: str = ""  # why it has no rank
    score: str = ""  # as displayed
    score_low: str = ""  # 95 % interval of the score
    score_high: str = ""
    p_first: float | None = None  # 0 to 1
    p_medal: float | None = None
    medal: str = ""  # gold, silver, bronze by rank
    submissions: int = 1  # of the team
    verdict: str = ""
    key: str  # name of the result folder


class Similarity(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that two submissions of different teams have a common source. Not a verdict."""

    submissions: list[str]
    evidence: str


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """One board: rows in the order in which they are shown."""

    title: str
    part: Part
    challenge: str
    metric: str
    lower_is_better: bool
    videos: int
    originals: int | None  # clusters that were resampled; None: originals are not known
    resamples: int
    teams: int  # that are ranked
    medal_places: list[int]
    rows: list[BoardRow]
    similar: list[Similarity]  # on a private board only: it is for the organizers
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """The results of a judging folder: `scored` (m,) are the columns of `predictions`; the others with the reason."""

    rules: Competition
    challenge: Challenge
    predictions: Predictions
    scored: list[JudgedSubmission]
    unscored: list[tuple[JudgedSubmission, str]]
    paths: list[Path]  # (m,) of the predictions

    def is_baseline(self, result: JudgedSubmission) -> bool:
        """Whether it is shown for comparison only."""
        return result.baseline or result.name in self.rules.baselines


def read_judged(
    rules: Competition,
    challenge: Challenge,
    judging: Path,
    results: list[JudgedSubmission],
    solution: Solution,
    metric: LoadedMetric,
) -> Judged:
    """Read the predictions of `results`, which have one profile, data set and metric (`results.comparable`).

    Raises DataError where none fits the solution.
    """
    files = [(result, path) for result in results if (path := prediction_file(judging, result))]
    named = [(f"{result.team}: {result.name}", path) for result, path in files]
    predictions, left_out = read_predictions(named, solution, metric, challenge)
    kept = [pair for i, pair in enumerate(files) if i not in left_out]
    if files and not kept:
        raise DataError(
            f"None of the judged submissions fits {solution.path}; {named[0][0]}: {left_out[0]}.",
            hint="Name the solution of the data that was judged.",
        )
    unscored = [(files[i][0], reason) for i, reason in left_out.items()]
    unscored += [(one, one.reason or one.verdict) for one in results if prediction_file(judging, one) is None]
    return Judged(rules, challenge, predictions, [one for one, _ in kept], unscored, [path for _, path in kept])


def make_board(judged: Judged, part: Part, resamples: int = RESAMPLES, seed: int = 0) -> Board:
    """The public board, from the Public rows alone, or the private one, from the Private rows.

    Without a column Usage both are from all rows. Raises DataError if the solution has no row of that part.
    """
    rules, challenge = judged.rules, judged.challenge
    predictions = judged.predictions.part(part.capitalize())
    resampled = predictions.resampled(resamples, seed)
    intervals = predictions.intervals(resampled, seed)
    entries = list(_entries(judged, predictions.scores(), part))
    banned = {one.team: one.reason for one in rules.disqualified}
    ranked = [entry for entry in entries if not entry.is_baseline and entry.result.team not in banned]
    places = _places(ranked, resampled, rules, challenge) if ranked else {}
    rows = [
        (entry, _row(entry, places.get(entry.column, {}), intervals[entry.column], challenge, banned))
        for entry in entries
    ]
    sign = 1 if challenge.metric.lower_is_better else -1
    rows.sort(key=lambda pair: (pair[1].status == "disqualified", sign * pair[0].score, pair[1].rank or 0, pair[1].key))
    return Board(
        title=rules.title,
        part=part,
        challenge=challenge.title,
        metric=rules.metric,
        lower_is_better=challenge.metric.lower_is_better,
        videos=len(predictions.predicted),
        originals=None if predictions.solution.originals is None else len(np.unique(predictions.solution.originals)),
        resamples=len(resampled),
        teams=len(ranked),
        medal_places=list(rules.medal_places(len(ranked))),
        rows=[row for _, row in rows] + list(_unscored_rows(judged, {one.result.team for one in entries})),
        similar=list(similar_submissions(judged)) if part == "private" else [],
        notes=list(_notes(judged, predictions, part, [entry.score for entry in ranked])),
    )


# ---------------------------------------------------------------------------------- which submission counts for a team


@dataclass(frozen=True, slots=True)
class _Entry:
    """The submission that counts for a team, or a baseline."""

    result: JudgedSubmission
    column: int  # in the predictions
    score: float  # the one that ranks
    submissions: int
    is_baseline: bool


def _entries(judged: Judged, scores: Floats, part: Part) -> Iterator[_Entry]:
    teams: dict[str, list[int]] = {}
    for column, result in enumerate(judged.scored):
        if judged.is_baseline(result):
            yield _Entry(result, column, float(scores[column]), 1, is_baseline=True)
        else:
            teams.setdefault(result.team, []).append(column)
    public = judged.predictions.part("Public").scores() if part == "private" and teams else scores
    for team, columns in sorted(teams.items()):
        in_time = sorted(columns, key=lambda i: (_when(judged.scored[i]), judged.scored[i].name, i))
        failed = sum(result.team == team for result, _ in judged.unscored)
        if part == "public":
            column, score = _public_entry(judged, in_time, scores)
        else:
            column = _best(_finals(judged, team, in_time, public), scores, judged.challenge)
            score = float(scores[column])
        yield _Entry(judged.scored[column], column, score, len(columns) + failed, is_baseline=False)


def _when(result: JudgedSubmission) -> str:
    """The time of submission in UTC, sortable as text; empty if it is not known or not ISO 8601. No zone means UTC."""
    try:
        time = datetime.fromisoformat(result.submitted_at or "")
    except ValueError:
        return ""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def _public_entry(judged: Judged, in_time: list[int], scores: Floats) -> tuple[int, float]:
    """The submission with the best public score, and that score; or those that the Ladder shows."""
    step = judged.rules.scores.ladder_step
    if step is None:
        column = _best(in_time, scores, judged.challenge)
        return column, float(scores[column])
    lower = judged.challenge.metric.lower_is_better
    column = in_time[ladder([float(scores[i]) for i in in_time], step, lower_is_better=lower)]
    return column, round(float(scores[column]) / step) * step


def _finals(judged: Judged, team: str, in_time: list[int], public: Floats) -> list[int]:
    """The submissions of a team that enter the private ranking, by the rule of the competition."""
    finals = judged.rules.finals
    chosen = [i for i in in_time if judged.scored[i].name in finals.chosen.get(team, [])]
    if finals.rule == "chosen" and chosen:
        return chosen
    if finals.rule == "last":
        return in_time[-finals.count :]
    sign = 1 if judged.challenge.metric.lower_is_better else -1
    return sorted(in_time, key=lambda i: sign * public[i])[: finals.count]


def _best(columns: list[int], scores: Floats, challenge: Challenge) -> int:
    sign = 1 if challenge.metric.lower_is_better else -1
    return min(columns, key=lambda i: sign * scores[i])


# ---------------------------------------------------------------------------------------------------------------- rows


def _places(
    ranked: list[_Entry], resampled: Floats, rules: Competition, challenge: Challenge
) -> dict[int, dict[str, Any]]:
    """The fields of a row that say its place, by column of the predictions; ranked: one entry at least."""
    medals = rules.medal_places(len(ranked))
    found = rank_teams(
        [entry.score for entry in ranked],
        resampled[:, [entry.column for entry in ranked]],
        lower_is_better=challenge.metric.lower_is_better,
        medal_places=medals[-1],
        submitted_at=[_when(entry.result) for entry in ranked] if rules.scores.ties == "earliest" else None,
    )
    return {entry.column: _place(found, i, medals) for i, entry in enumerate(ranked)}


def _place(ranking: Ranking, i: int, medals: tuple[int, int, int]) -> dict[str, Any]:
    rank = int(ranking.ranks[i])
    medal = next((name for name, last in zip(("gold", "silver", "bronze"), medals, strict=True) if rank <= last), "")
    return {
        "rank": rank,
        "rank_low": int(ranking.low[i]),
        "rank_high": int(ranking.high[i]),
        "tied_from": int(ranking.tied_from[i]),
        "tied_to": int(ranking.tied_to[i]),
        "p_first": round(float(ranking.p_first[i]), CHANCE_DIGITS),
        "p_medal": round(float(ranking.p_medal[i]), CHANCE_DIGITS),
        "medal": medal,
    }


def _row(
    entry: _Entry,
    place: dict[str, Any],
    interval: tuple[float, float],
    challenge: Challenge,
    banned: dict[str, str],
) -> BoardRow:
    decimals = challenge.metric.displayed_decimals
    status = "baseline" if entry.is_baseline else "ranked" if place else "disqualified"
    return msgspec.convert(
        {
            **place,
            "team": entry.result.team,
            "submission": entry.result.name,
            "status": status,
            "reason": banned[entry.result.team] if status == "disqualified" else "",
            "score": displayed(entry.score, decimals),
            "score_low": displayed(interval[0], decimals),
            "score_high": displayed(interval[1], decimals),
            "submissions": entry.submissions,
            "verdict": entry.result.verdict,
            "key": entry.result.key,
        },
        BoardRow,
    )


def _unscored_rows(judged: Judged, with_score: set[str]) -> Iterator[BoardRow]:
    """Teams without any scored submission, and baselines that failed: the latest submission of each."""
    latest: dict[str, tuple[JudgedSubmission, str]] = {}
    count: dict[str, int] = {}
    for result, reason in sorted(judged.unscored, key=lambda pair: (_when(pair[0]), pair[0].name)):
        name = f"{result.team}/{result.name}" if judged.is_baseline(result) else result.team
        if judged.is_baseline(result) or result.team not in with_score:
            latest[name] = (result, reason)
            count[name] = count.get(name, 0) + 1
    for name, (result, reason) in sorted(latest.items()):
        yield BoardRow(
            team=result.team,
            submission=result.name,
            status="not scored",
            reason=reason,
            submissions=count[name],
            verdict=result.verdict,
            key=result.key,
        )


def _notes(judged: Judged, predictions: Predictions, part: Part, scores: list[float]) -> Iterator[str]:
    if not scores:
        yield "No team has a score."
    elif len(scores) == 1:
        yield "Only one team has a score: there is nobody to compare it with."
    elif len(set(scores)) == 1:
        yield "All teams have the same score: nothing can be ranked."
    originals = predictions.solution.originals
    units = len(predictions.predicted) if originals is None else len(np.unique(originals))
    if len(scores) > 1 and units < FEWEST_TO_RANK:
        what = plural(units, "video" if originals is None else "original")
        yield f"Too few to rank anything: {what} ({FEWEST_TO_RANK} needed)."
    if predictions.losses is None:
        yield f"{judged.rules.metric} is no mean over videos: it was computed anew on each draw of videos."
    if judged.predictions.solution.usage is None:
        yield "The solution has no column Usage: public and private boards are made from all rows."
    if predictions.solution.originals is None:
        yield "Originals are not known: videos are resampled one by one, so intervals may be too narrow."
    if part == "public" and judged.rules.scores.ladder_step is not None:
        yield f"Scores are those of the Ladder, with a step of {judged.rules.scores.ladder_step:g}."
    if part == "private":
        yield from _over_quota(judged)
        count = judged.predictions.predicted.shape[1]
        if count < FEWEST_FOR_FIELD:
            yield f"{plural(count, 'submission')}: too few to say which predictions are unusually close."
    if judged.rules.scores.ties == "earliest" and any(not _when(one) for one in judged.scored):
        yield "Some times of submission are not known: equal scores without one come last."


def _over_quota(judged: Judged) -> Iterator[str]:
    """A sentence for each team and day (UTC) with more submissions than the rules allow."""
    quota = judged.rules.quota
    failed = [result for result, _ in judged.unscored] if quota.failed_ones_count else []
    made = Counter(
        (result.team, when[:10])
        for result in [*judged.scored, *failed]
        if (when := _when(result)) and not judged.is_baseline(result)
    )
    for (team, day), count in sorted(made.items()):
        if count > quota.daily:
            yield f"{team} made {count} submissions on {day}; the rules allow {quota.daily} a day."


# ---------------------------------------------------------------------------------------------------------- similarity


def similar_submissions(judged: Judged) -> Iterator[Similarity]:
    """Submissions of different teams with the same code, the same predictions, or unusually close ones."""
    results = [*judged.scored, *(result for result, _ in judged.unscored)]
    seen: set[frozenset[str]] = set()
    digests = {result.key: file_sha256(path) for result, path in zip(judged.scored, judged.paths, strict=True)}
    for what, of in (
        ("the same code, byte for byte", {result.key: result.code_digest for result in results}),
        ("the same predictions, byte for byte", digests),
    ):
        groups: dict[str, list[JudgedSubmission]] = {}
        for result in results:
            if digest := of.get(result.key, ""):
                groups.setdefault(digest, []).append(result)
        for group in groups.values():
            if len({result.team for result in group}) > 1:
                seen.add(frozenset(result.key for result in group))
                yield Similarity(submissions=[f"{result.team}: {result.name}" for result in group], evidence=what)
    predicted, labels = judged.predictions.predicted, judged.predictions.solution.labels
    for one, other, correlation, typical in similar_pairs(predicted, labels):
        pair = (judged.scored[one], judged.scored[other])
        if pair[0].team == pair[1].team or any({pair[0].key, pair[1].key} <= group for group in seen):
            continue
        yield Similarity(
            submissions=[f"{result.team}: {result.name}" for result in pair],
            evidence=f"predictions correlate at {correlation:.3f} within the classes; {typical:.3f} is usual here",
        )
