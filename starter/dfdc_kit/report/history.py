"""What the history remembers: one event, and how a run and a score become one."""

import csv
import io
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import msgspec

from dfdc_kit.errors import DataError, KitError, OutputError, UsageError
from dfdc_kit.files import file_sha256
from dfdc_kit.report.run_report import RunReport
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
        data=report.solution or report.data_folder,
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


FILE = "history.sqlite"
SCHEMA_VERSION = 1  # stands in the file as its user_version
APPLICATION_ID = 0x44464443  # "DFDC": whose SQLite file it is
WAIT_S = 30.0  # for another writer
COLUMNS = tuple(field.name for field in msgspec.structs.fields(Event))
TABLE = """
CREATE TABLE events (
    kind TEXT NOT NULL, name TEXT NOT NULL, happened TEXT NOT NULL, submission TEXT NOT NULL,
    submission_sha256 TEXT NOT NULL, csv_sha256 TEXT NOT NULL, outcome TEXT NOT NULL,
    local_score REAL, local_rows INTEGER, official_score REAL,
    metric TEXT NOT NULL, data TEXT NOT NULL, profile TEXT NOT NULL, wall_time_s REAL,
    folder TEXT NOT NULL, reference TEXT NOT NULL,
    PRIMARY KEY (kind, name)
)
"""
WRITE = f"INSERT OR REPLACE INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
OFFICIAL = """
COALESCE(official_score, (
    SELECT sent.official_score FROM events AS sent
    WHERE events.kind = 'run' AND sent.kind = 'hand-in' AND sent.official_score IS NOT NULL
      AND sent.submission_sha256 = events.submission_sha256
    ORDER BY sent.happened DESC LIMIT 1
)) AS official_score
"""  # of a run: what the same code scored when it was handed in
READ = f"SELECT {', '.join(OFFICIAL if name == 'official_score' else name for name in COLUMNS)} FROM events"  # noqa: S608


def note(runs: Path, event: Event) -> None:
    """Write `event` into the history of the folder `runs`, whole or not at all. Raises OutputError or DataError."""
    path = runs / FILE
    with _faults(path, writing=True):
        runs.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # one writer at a time, the first of them makes the table
            if not _is_made(connection, path):
                connection.execute(TABLE)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute(WRITE, tuple(_plain(getattr(event, column)) for column in COLUMNS))
            connection.execute("COMMIT")


def note_aloud(runs: Path, event: Event, say: Callable[[str], None]) -> None:
    """Write `event`; where that fails, `say` why and go on: no result is lost because it cannot be remembered."""
    try:
        note(runs, event)
    except KitError as error:
        said = f"Not in the history: {error}"
        say(f"{said} {error.hint}" if error.hint else said)


def read(
    runs: Path, *, kind: Kind | None = None, submission: str = "", since: str = "", limit: int | None = None
) -> list[Event]:
    """The events of the folder `runs`, newest first; none if it has no history.

    `submission` is a name, or the beginning of a name or of a digest; `since` is the beginning of an ISO date in UTC.
    Raises DataError.
    """
    path = runs / FILE
    if not path.is_file():
        return []
    tests = {
        "kind = :kind": kind.value if kind else "",
        "(substr(submission, 1, length(:submission)) = :submission"
        " OR substr(submission_sha256, 1, length(:submission)) = :submission)": submission,
        "happened >= :since": since,
    }
    wanted = " AND ".join(test for test, value in tests.items() if value)
    query = f"{READ}{' WHERE ' + wanted if wanted else ''} ORDER BY happened DESC, rowid DESC LIMIT :limit"
    values = {
        "kind": kind.value if kind else "",
        "submission": submission,
        "since": since,
        "limit": -1 if limit is None else limit,
    }
    with (  # rw: what a killed writer has left half-done is taken back; where nothing may be written, SQLite only reads
        _faults(path, writing=False),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=WAIT_S)) as connection,
    ):
        rows = connection.execute(query, values).fetchall() if _is_made(connection, path) else []
    return [msgspec.convert(dict(zip(COLUMNS, row, strict=True)), Event) for row in rows]


def _plain(value: object) -> object:
    return value.value if isinstance(value, Kind) else value


def _is_made(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the table is there; a file that is not ours, or of another version, is refused."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not version:
        return False
    if owner != APPLICATION_ID:
        raise DataError(
            f"{path} is a database, but no history of this program.", hint=f"Move it away: mv {path} {path}.old"
        )
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema version {version}; this program reads {SCHEMA_VERSION}.",
            hint=f"Update: pip install --upgrade dfdc-starter-kit. Or start a new history: mv {path} {path}.old",
        )
    return True


@contextmanager
def _faults(path: Path, *, writing: bool) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:  # locked for too long, disk full, read-only
        kind = OutputError if writing else DataError
        raise kind(f"Cannot {'write' if writing else 'read'} {path}: {error}.") from error
    except sqlite3.Error as error:
        raise DataError(f"{path} is damaged: {error}.", hint=f"Move it away: mv {path} {path}.old") from error
    except OSError as error:
        if isinstance(error, KitError):
            raise
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from error


UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def since(words: str) -> str:
    """The beginning of a span of time, as the history writes it: from "7d", "36h", "2w" or an ISO date, UTC.

    Raises UsageError.
    """
    ago = re.fullmatch(r"(\d{1,5})([hdw])", words.strip())
    if ago:
        start = datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return start.isoformat(timespec="seconds")
    try:
        start = datetime.fromisoformat(words.strip())
    except ValueError as error:
        raise UsageError(
            f"{words!r} is no time.", hint="For example: --since 2026-11-24, --since 7d, --since 36h"
        ) from error
    return (start if start.tzinfo else start.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")


def as_csv(events: list[Event]) -> str:
    """One line an event, the names of the columns first; what is not known is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for event in events:
        values = msgspec.to_builtins(event)
        table.writerow("" if values[name] is None else values[name] for name in COLUMNS)
    return text.getvalue()
