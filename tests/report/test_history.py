"""The local history: nothing lost, nothing half-written, two writers at once, killed writers, strange files."""

import csv
import io
import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from dfdc_kit.errors import DataError, OutputError, UsageError
from dfdc_kit.report import history
from dfdc_kit.report.history import Event, Kind

WRITER = """
import sys
from pathlib import Path
from dfdc_kit.history import store
from dfdc_kit.report.history import Event, Kind
runs, who, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for i in range(count):
    name = f"{who}-{i}"
    store.note(runs, Event(kind=Kind.RUN, name=name, happened="2026-11-25T10:00:00+00:00", submission="a", outcome="x"))
    print(name, flush=True)
"""

HALF_DONE = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the end
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE events SET name = 'half'")
connection.execute("CREATE TABLE filler (bytes)")
for _ in range(200):
    connection.execute("INSERT INTO filler VALUES (randomblob(2000))")
os.kill(os.getpid(), 9)
"""


def event(**fields) -> Event:
    given = {
        "kind": Kind.RUN,
        "name": "one",
        "happened": "2026-11-25T10:00:00+00:00",
        "submission": "a",
        "outcome": "complete",
    }
    return Event(**{**given, **fields})


def writer(runs, who: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, runs, who, str(count)], stdout=subprocess.PIPE, text=True)


def test_what_is_noted_is_read(tmp_path):
    full = event(local_score=0.1 + 0.2, local_rows=400, official_score=0.5, wall_time_s=1.5, data="x, \"y\"\n'z'")
    history.note(tmp_path, full)
    assert history.read(tmp_path) == [full]


def test_the_same_event_again_replaces_itself(tmp_path):
    for outcome in ("submitted", "complete"):
        history.note(tmp_path, event(kind=Kind.HAND_IN, outcome=outcome))
    history.note(tmp_path, event(kind=Kind.RUN))
    assert [(one.kind.value, one.outcome) for one in history.read(tmp_path)] == [
        ("run", "complete"),
        ("hand-in", "complete"),
    ]


def test_filters(tmp_path):
    for at, (kind, submission) in enumerate([("run", "a"), ("run", "b_c"), ("rehearsal", "b%c"), ("score", "B")]):
        happened = f"2026-11-2{at}T00:00:00+00:00"
        sha256 = f"{at}f" * 32
        history.note(
            tmp_path,
            event(kind=Kind(kind), name=str(at), submission=submission, submission_sha256=sha256, happened=happened),
        )

    def names(**wanted) -> str:
        return "".join(one.name for one in history.read(tmp_path, **wanted))

    assert names() == "3210"
    assert names(kind=Kind.RUN) == "10"
    assert names(submission="b") == "21"
    assert names(submission="b_") == "1"  # no pattern: the characters themselves
    assert names(submission="2f2f") == "2"
    assert names(since="2026-11-22") == "32"
    assert names(limit=2) == "32"
    assert names(kind=Kind.RUN, submission="b", since="2026-11-21", limit=5) == "1"


def test_a_run_stands_beside_the_official_score_of_the_same_code(tmp_path):
    history.note(tmp_path, event(name="mine", submission_sha256="aa", local_score=0.5))
    history.note(tmp_path, event(name="other", submission_sha256="bb", local_score=0.6))
    history.note(tmp_path, event(kind=Kind.SCORE, name="no code", local_score=0.6))
    for name, day, score in (("first", 26, 0.51), ("second", 28, 0.52), ("pending", 29, None)):
        happened = f"2026-11-{day}T10:00:00+00:00"
        sent = event(kind=Kind.HAND_IN, name=name, submission_sha256="aa", official_score=score, happened=happened)
        history.note(tmp_path, sent)
    official = {one.name: one.official_score for one in history.read(tmp_path)}
    assert official == {"mine": 0.52, "other": None, "no code": None, "first": 0.51, "second": 0.52, "pending": None}


def test_two_writers_at_once_from_the_first_row_on(tmp_path):
    writers = [writer(tmp_path, who, 40) for who in "abcd"]
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    assert {one.name for one in history.read(tmp_path)} == {f"{who}-{i}" for who in "abcd" for i in range(40)}


def test_kill_9_loses_nothing_that_was_noted(tmp_path):
    rng = random.Random(3)
    noted: list[str] = []
    for attempt in range(5):
        with writer(tmp_path, f"w{attempt}", 10**9) as process:
            assert process.stdout is not None
            noted.append(process.stdout.readline().strip())
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            noted += process.stdout.read().split()
        names = {one.name for one in history.read(tmp_path)}
        assert names >= set(noted)
        assert len(names) <= len(noted) + attempt + 1  # at most one of each writer was not told of any more
    with sqlite3.connect(tmp_path / history.FILE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_killed_in_the_middle_of_a_transaction(tmp_path):
    """What it had written to the file already is taken back by the next reader."""
    history.note(tmp_path, event(name="before"))
    before = (tmp_path / history.FILE).read_bytes()
    done = subprocess.run([sys.executable, "-c", HALF_DONE, tmp_path / history.FILE], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / history.FILE).read_bytes() != before
    assert [one.name for one in history.read(tmp_path)] == ["before"]
    history.note(tmp_path, event(name="after"))
    assert len(history.read(tmp_path)) == 2


def test_a_later_schema_is_refused(tmp_path):
    history.note(tmp_path, event())
    with sqlite3.connect(tmp_path / history.FILE) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    for action in (lambda: history.read(tmp_path), lambda: history.note(tmp_path, event())):
        with pytest.raises(DataError, match="schema version 7; this program reads 1") as caught:
            action()
        assert "pip install --upgrade" in caught.value.hint


@pytest.mark.parametrize("content", [b"no database at all" * 100, None], ids=["text", "another program's database"])
def test_a_file_that_is_no_history(tmp_path, content):
    if content is None:
        with sqlite3.connect(tmp_path / history.FILE) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
    else:
        (tmp_path / history.FILE).write_bytes(content)
    before = (tmp_path / history.FILE).read_bytes()
    for action in (lambda: history.read(tmp_path), lambda: history.note(tmp_path, event())):
        with pytest.raises(DataError, match=r"history.sqlite") as caught:
            action()
        assert caught.value.hint.startswith("Move it away")
    assert (tmp_path / history.FILE).read_bytes() == before


def test_no_history_and_an_empty_file_are_empty(tmp_path):
    assert history.read(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / history.FILE).touch()
    assert history.read(tmp_path) == []
    history.note(tmp_path, event())
    assert len(history.read(tmp_path)) == 1


def test_a_writer_that_never_ends_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "WAIT_S", 0.05)
    history.note(tmp_path, event())
    connection = sqlite3.connect(tmp_path / history.FILE, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OutputError, match="locked"):
        history.note(tmp_path, event(name="two"))
    connection.close()


def test_spans_of_time():
    ago = datetime.now(UTC) - datetime.fromisoformat(history.since("36h"))
    assert timedelta(hours=36) <= ago < timedelta(hours=36, minutes=1)
    assert history.since("2026-11-24") == "2026-11-24T00:00:00+00:00"
    assert history.since("2026-11-24T01:30+01:00") == "2026-11-24T00:30:00+00:00"
    with pytest.raises(UsageError, match="'yesterday' is no time"):
        history.since("yesterday")


def test_csv_holds_every_column(tmp_path):
    events = [event(data='a, "b"', local_score=1 / 3), event(name="two")]
    rows = list(csv.DictReader(io.StringIO(history.as_csv(events))))
    assert [row["data"] for row in rows] == ['a, "b"', ""]
    assert float(rows[0]["local_score"]) == 1 / 3
    assert rows[1]["local_score"] == ""
    assert set(rows[0]) == set(msgspec.to_builtins(events[0]))


# ------------------------------------------------------------------------------------------------- as a user meets it


def test_run_and_score_leave_rows(dfdc, root, tmp_path):
    assert dfdc("run", "baselines/constant", "--quiet").returncode == 0
    (csv_file,) = (tmp_path / "runs").glob("*/submission.csv")
    assert dfdc("score", csv_file, root / "sample_data").returncode == 0
    events = json.loads(dfdc("history", "--json").stdout)
    assert [one["kind"] for one in events] == ["score", "run"]
    assert {f"{one['local_score']:.5f}" for one in events} == {"0.69315"}
    assert events[0]["csv_sha256"] == events[1]["csv_sha256"]
    assert events[1]["folder"] == csv_file.parent.name
    done = dfdc("history")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(r"run +constant +complete +0.69314 +-", done.stdout)
    assert len(dfdc("history", "--csv", "--kind", "score").stdout.splitlines()) == 2


def test_a_history_that_cannot_be_written_loses_no_run(dfdc, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / history.FILE).write_text("something else, longer than a header of a database\n" * 9)
    done = dfdc("run", "baselines/constant", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["score"]["displayed"] == "0.69314"
    assert "warning: Not in the history: runs/history.sqlite is damaged" in done.stderr
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 1


def test_usage_faults(dfdc):
    done = dfdc("history", "--since", "soon")
    assert (done.returncode, "is no time" in done.stderr) == (2, True)
    assert dfdc("history", "--csv", "--json").returncode == 2
    assert "Nothing has happened here yet" in dfdc("history").stdout
