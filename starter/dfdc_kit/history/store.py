"""The SQLite file of the history: opened, checked, written to and read.

One file with SQLite's own rollback journal: it can be copied, lies on any disk, and can be read where nothing may be
written. Each writer takes the lock for one short transaction; the others wait for it.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from dfdc_kit.errors import BadData, KitError, OutputFault
from dfdc_kit.history.event import Event, Kind

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
    """Write `event` into the history of the folder `runs`, whole or not at all. Raises OutputFault or BadData."""
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
    Raises BadData.
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
        raise BadData(
            f"{path} is a database, but no history of this program.", hint=f"Move it away: mv {path} {path}.old"
        )
    if version != SCHEMA_VERSION:
        raise BadData(
            f"{path} has schema version {version}; this program reads {SCHEMA_VERSION}.",
            hint=f"Update: pip install --upgrade dfdc-starter-kit. Or start a new history: mv {path} {path}.old",
        )
    return True


@contextmanager
def _faults(path: Path, *, writing: bool) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:  # locked for too long, disk full, read-only
        kind = OutputFault if writing else BadData
        raise kind(f"Cannot {'write' if writing else 'read'} {path}: {error}.") from error
    except sqlite3.Error as error:
        raise BadData(f"{path} is damaged: {error}.", hint=f"Move it away: mv {path} {path}.old") from error
    except OSError as error:
        if isinstance(error, KitError):
            raise
        raise OutputFault(f"Cannot write {path}: {error.strerror}.") from error
