"""What the history remembers: one event, and how a run and a score become one."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from dfdc_kit.report.run_report import RunReport
from dfdc_kit.resources import file_sha256
from dfdc_kit.scoring.score import Score


class Kind(StrEnum):
    """What happened."""

    RUN = "run"
    SCORE = "score"
    REHEARSAL = "rehearsal"
    HAND_IN = "hand-in"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the history. Kind and name together are unique: to note an event again is to replace it."""

    kind: Kind
    name: str  # run id, rehearsal id, hand-in id; of a score, when it was made and what it scored
    happened: str  # ISO 8601, UTC
    submission: str
    submission_sha256: str = ""  # of the code; empty where only a CSV is known
    csv_sha256: str = ""
    outcome: str  # verdict of a run, outcome of a rehearsal, where a hand-in stands
    local_score: float | None = None
    local_rows: int | None = None  # that the local score is a mean over
    official_score: float | None = None  # of the public leaderboard
    metric: str = ""
    data: str = ""  # the truth that was scored against
    profile: str = ""
    wall_time_s: float | None = None
    folder: str = ""  # below the folder that holds the history; empty: there is none
    reference: str = ""  # the challenge host's own number of a hand-in


def now() -> str:
    """The time, as the history writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def of_run(report: RunReport) -> Event:
    """A finished run."""
    score = report.score
    return Event(
        kind=Kind.RUN,
        name=report.run_id,
        happened=report.started,
        submission=report.submission,
        submission_sha256=report.submission_sha256,
        csv_sha256=report.submission_csv_sha256,
        outcome=report.judgement.verdict.value,
        local_score=score.value if score else None,
        local_rows=score.rows if score else None,
        metric=report.challenge.metric.name,
        data=report.truth or report.data_folder,
        profile=report.profile_name,
        wall_time_s=report.observation.outcome.usage.wall_time_s,
        folder=report.run_id,
    )


def of_score(csv: Path, truth: Path, score: Score) -> Event:
    """A CSV that was scored. Scored again with the same metric, it is another event: the truth may have changed."""
    happened = datetime.now(UTC).isoformat()  # with microseconds: it is part of the name
    return Event(
        kind=Kind.SCORE,
        name=f"{happened} {csv.name}",
        happened=happened[:19] + "+00:00",
        submission=csv.name,
        csv_sha256=file_sha256(csv),
        outcome="complete",
        local_score=score.value,
        local_rows=score.rows,
        metric=score.metric,
        data=str(truth),
    )
