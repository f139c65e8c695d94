"""The local history: what was run, scored, rehearsed and submitted, in one SQLite file below the runs folder."""

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

from dfdc_kit.errors import DataError, KitError, OutputError, UsageError, suggest
from dfdc_kit.files import file_sha256, has_locks, warn_no_locks
from dfdc_kit.formatting import join_names
from dfdc_kit.report.run_report import FILE as REPORT
from dfdc_kit.report.run_report import RunReport
from dfdc_kit.scoring.score import Score


class Kind(StrEnum):
    """What happened."""

    RUN = "run"
    SCORE = "score"
    REHEARSAL = "rehearsal"
    ROBUSTNESS = "robustness"
    SUBMISSION = "submission"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the history. Kind and name together are unique: recording an event again replaces it."""

    kind: Kind
    name: str  # id of the run, rehearsal, robustness report or submission; of a score, its time and the CSV's name
    happened: str  # ISO 8601, UTC
    submission: str
    submission_sha256: str = ""  # of the code; empty where only a CSV is known
    csv_sha256: str = ""
    outcome: str  # verdict of a run, outcome of a rehearsal or robustness report, status of a submission
    message: str = ""  # of `dfdc run --message`; of a robustness report the worst degradation
    local_score: float | None = None
    local_rows: int | None = None  # number of scored rows
    lower_is_better: bool = True
    best_local_score: float | None = None  # on the same data and rows; computed when read, not stored
    official_score: float | None = None  # of the public leaderboard
    metric: str = ""
    data: str = ""  # path of the ground truth, else of the data folder
    profile: str = ""
    wall_time_s: float | None = None
    folder: str = ""  # relative to the history's folder; empty: none
    reference: str = ""  # Kaggle's own id of a submission


def now() -> str:
    """The current time in the history's format: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def of_run(report: RunReport) -> Event:
    """The event of a finished run."""
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
        lower_is_better=report.challenge.metric.lower_is_better,
        message=report.message,
        metric=report.challenge.metric.name,
        data=str(Path(report.solution or report.data_folder).resolve()),
        profile=report.profile_name,
        wall_time_s=report.observation.outcome.usage.wall_time_s,
        folder=report.run_id,
    )


def of_score(csv: Path, solution: Path, score: Score, *, lower_is_better: bool) -> Event:
    """The event of a scored CSV; scoring it again is another event, since the ground truth may have changed."""
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
        lower_is_better=lower_is_better,
        metric=score.metric,
        data=str(solution.resolve()),
    )


FILE = "history.sqlite"
SCHEMA_VERSION = 2  # the file's user_version
APPLICATION_ID = 0x44464443  # "DFDC": marks the file as ours
LOCK_TIMEOUT_S = 30.0
COMPUTED = "best_local_score"
COLUMNS = tuple(field.name for field in msgspec.structs.fields(Event) if field.name != COMPUTED)
TABLE = """
CREATE TABLE events (
    kind TEXT NOT NULL, name TEXT NOT NULL, happened TEXT NOT NULL, submission TEXT NOT NULL,
    submission_sha256 TEXT NOT NULL, csv_sha256 TEXT NOT NULL, outcome TEXT NOT NULL, message TEXT NOT NULL DEFAULT '',
    local_score REAL, local_rows INTEGER, lower_is_better INTEGER NOT NULL DEFAULT 1, official_score REAL,
    metric TEXT NOT NULL, data TEXT NOT NULL, profile TEXT NOT NULL, wall_time_s REAL,
    folder TEXT NOT NULL, reference TEXT NOT NULL,
    PRIMARY KEY (kind, name)
)
"""
UPGRADE_1 = (
    "ALTER TABLE events ADD COLUMN message TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE events ADD COLUMN lower_is_better INTEGER NOT NULL DEFAULT 1",
    "UPDATE events SET kind = 'submission' WHERE kind = 'hand-in'",
)
MOVE = "Move it away to start a new history."
WRITE = f"INSERT OR REPLACE INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
OFFICIAL = """
COALESCE(official_score, (
    SELECT sent.official_score FROM events AS sent
    WHERE events.kind = 'run' AND sent.kind = 'submission' AND sent.official_score IS NOT NULL
      AND sent.submission_sha256 = events.submission_sha256
    ORDER BY sent.happened DESC LIMIT 1
)) AS official_score
"""  # of a run: the official score of the same code
BEST = """
(SELECT CASE WHEN events.lower_is_better THEN min(other.local_score) ELSE max(other.local_score) END
 FROM events AS other
 WHERE other.data = events.data AND events.data <> '' AND other.local_rows = events.local_rows
   AND other.lower_is_better = events.lower_is_better) AS best_local_score
"""
READ = (
    f"SELECT {', '.join(OFFICIAL if name == 'official_score' else name for name in COLUMNS)}, {BEST} "  # noqa: S608
    "FROM events"
)


def record(runs: Path, event: Event) -> None:
    """Write `event` into the history of the folder `runs`, in one transaction. Raises OutputError or DataError."""
    path = runs / FILE
    with _errors(path, writing=True):
        runs.mkdir(parents=True, exist_ok=True)
        with closing(_connect(path, "rwc")) as connection:
            connection.execute("BEGIN IMMEDIATE")  # one writer at a time; the first one creates the table
            _prepare(connection, path)
            connection.execute(WRITE, tuple(_column_value(getattr(event, column)) for column in COLUMNS))
            connection.execute("COMMIT")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """On a file system without locks SQLite works without them: it would wait for LOCK_TIMEOUT_S, then fail."""
    uri = f"{path.absolute().as_uri()}?mode={mode}{'' if has_locks(path.parent) else '&nolock=1'}"
    return sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S, isolation_level=None)


def record_or_warn(runs: Path, event: Event, warn: Callable[[str], None]) -> None:
    """Write `event`; where that fails, only warn: no result is lost because the history cannot be written."""
    try:
        record(runs, event)
        if not has_locks(runs):
            warn_no_locks(runs, warn)
    except KitError as error:
        warn(" ".join(filter(None, [f"Not added to the history: {error}", error.hint, error.command])))


def read(
    runs: Path, *, kind: Kind | None = None, submission: str = "", since: str = "", limit: int | None = None
) -> list[Event]:
    """The events of the folder `runs`, newest first; none if it has no history.

    `submission` is the start of a submission's name or SHA-256; `since` is an ISO time in UTC. Raises DataError.
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
    with (  # rw: rolls back what a killed writer left; SQLite only reads where nothing may be written
        _errors(path, writing=False),
        closing(_connect(path, "rw")) as connection,
    ):
        version = _version(connection, path)
        if 0 < version < SCHEMA_VERSION:
            connection.execute("BEGIN IMMEDIATE")
            _prepare(connection, path)
            connection.execute("COMMIT")
        rows = connection.execute(query, values).fetchall() if version else []
    return [msgspec.convert(dict(zip((*COLUMNS, COMPUTED), row, strict=True)), Event, strict=False) for row in rows]


def find_run(runs: Path, text: str, with_file: str = REPORT) -> Path:
    """The folder of a run: `text` is a run folder, a run id or the unique start of one in `runs`, or `last`.

    `last` is the newest run that has `with_file`. Raises UsageError, with the nearest id, where there is no such run.
    """
    folder = Path(text)
    if folder.name == REPORT and folder.is_file():
        return folder.parent
    if (folder / REPORT).is_file():
        return folder
    ids = sorted(path.parent.name for path in runs.glob(f"*/{REPORT}"))
    if text == LAST and ids:
        usable = [runs / name for name in ids if (runs / name / with_file).is_file()]
        if not usable:
            raise UsageError(f"No run in {runs} has the file {with_file}.", hint="Run a submission.", command=FIRST_RUN)
        return max(usable, key=lambda run: (run / REPORT).stat().st_mtime_ns)
    found = [text] if text in ids else [name for name in ids if name.startswith(text)]
    if len(found) == 1:
        return runs / found[0]
    if not ids:
        raise UsageError(f"No runs in {runs}.", hint="Name the folder of your runs with --out.", command=FIRST_RUN)
    if found:
        raise UsageError(f"{text} is the start of {len(found)} run ids.", hint=f"Runs: {join_names(found)}")
    raise UsageError(f"No run {text} in {runs}.", hint=suggest(text, ids[::-1][:SUGGESTED], label="Newest runs"))


def _column_value(value: object) -> object:
    return value.value if isinstance(value, Kind) else value


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version; 0 for an empty file. Raises DataError for another program's file or a newer version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not version:
        return 0
    if owner != APPLICATION_ID:
        raise DataError(f"{path} is a database of another program.", hint=MOVE, command=f"mv {path} {path}.old")
    if version > SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema version {version}; this version of dfdc reads up to {SCHEMA_VERSION}.",
            hint="Upgrade dfdc, or move the file away to start a new history.",
            command="pip install --upgrade dfdc-starter-kit",
        )
    return int(version)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the table, or upgrade that of an older version, in the transaction that is open."""
    version = _version(connection, path)
    if version == SCHEMA_VERSION:
        return
    for statement in UPGRADE_1 if version else (TABLE, f"PRAGMA application_id = {APPLICATION_ID}"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@contextmanager
def _errors(path: Path, *, writing: bool) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:  # locked for too long, disk full, read-only
        kind = OutputError if writing else DataError
        raise kind(f"Cannot {'write' if writing else 'read'} {path}: {error}.") from error
    except sqlite3.Error as error:
        raise DataError(f"{path} is damaged: {error}.", hint=MOVE, command=f"mv {path} {path}.old") from error
    except OSError as error:
        if isinstance(error, KitError):
            raise
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from error


LAST = "last"
SUGGESTED = 5
FIRST_RUN = "dfdc run baselines/frame-stats"
UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def parse_since(text: str) -> str:
    """The start of a period in the history's format, from "7d", "36h", "2w" or an ISO date (UTC). Raises UsageError."""
    ago = re.fullmatch(r"(\d{1,5})([hdw])", text.strip())
    if ago:
        start = datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return start.isoformat(timespec="seconds")
    try:
        start = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"Not a time: {text!r}", hint="Examples: 2026-11-24, 7d, 36h, 2w") from error
    return (start if start.tzinfo else start.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")


def as_csv(events: list[Event]) -> str:
    """A header and one line per event; unknown values are empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = (*COLUMNS, COMPUTED)
    table.writerow(columns)
    for event in events:
        values = msgspec.to_builtins(event)
        table.writerow("" if values[name] is None else values[name] for name in columns)
    return text.getvalue()
