"""The local history: concurrent and killed writers, files of other programs, older schemas, and its commands."""

import csv
import errno
import fcntl
import io
import json
import os
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
from msgspec import structs

from dfdc_kit.errors import DataError, OutputError, UsageError
from dfdc_kit.report import history
from dfdc_kit.report.history import Event, Kind

WRITER = """
import sys
from pathlib import Path
from dfdc_kit.report import history
from dfdc_kit.report.history import Event, Kind
runs, who, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for i in range(count):
    name = f"{who}-{i}"
    happened = "2026-11-25T10:00:00+00:00"
    history.record(runs, Event(kind=Kind.RUN, name=name, happened=happened, submission="a", outcome="x"))
    print(name, flush=True)
"""

SCHEMA_1 = """
CREATE TABLE events (
    kind TEXT NOT NULL, name TEXT NOT NULL, happened TEXT NOT NULL, submission TEXT NOT NULL,
    submission_sha256 TEXT NOT NULL, csv_sha256 TEXT NOT NULL, outcome TEXT NOT NULL,
    local_score REAL, local_rows INTEGER, official_score REAL,
    metric TEXT NOT NULL, data TEXT NOT NULL, profile TEXT NOT NULL, wall_time_s REAL,
    folder TEXT NOT NULL, reference TEXT NOT NULL,
    PRIMARY KEY (kind, name)
);
PRAGMA application_id = 1145455683;
PRAGMA user_version = 1;
INSERT INTO events VALUES ('run', 'old', '2026-11-20', 'a', 'ff', '', 'complete', 0.5, 16, NULL, 'm', 'd', 'p', 1,
  '', '');
INSERT INTO events VALUES ('hand-in', 'sent', '2026-11-21', 'a', 'ff', '', 'complete', NULL, NULL, 0.6, 'm', '', 'p', 1,
  '', '7');
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


def test_read_returns_what_was_noted(tmp_path):
    full = event(local_score=0.1 + 0.2, local_rows=400, official_score=0.5, wall_time_s=1.5, data="x, \"y\"\n'z'")
    history.record(tmp_path, full)
    assert history.read(tmp_path) == [structs.replace(full, best_local_score=full.local_score)]


def test_note_replaces_an_event_of_the_same_kind_and_name(tmp_path):
    for outcome in ("submitted", "complete"):
        history.record(tmp_path, event(kind=Kind.SUBMISSION, outcome=outcome))
    history.record(tmp_path, event(kind=Kind.RUN))
    assert [(one.kind.value, one.outcome) for one in history.read(tmp_path)] == [
        ("run", "complete"),
        ("submission", "complete"),
    ]


def test_read_filters_by_kind_submission_and_time(tmp_path):
    for at, (kind, submission) in enumerate([("run", "a"), ("run", "b_c"), ("rehearsal", "b%c"), ("score", "B")]):
        happened = f"2026-11-2{at}T00:00:00+00:00"
        sha256 = f"{at}f" * 32
        history.record(
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


def test_run_gets_the_newest_official_score_of_the_same_code(tmp_path):
    history.record(tmp_path, event(name="mine", submission_sha256="aa", local_score=0.5))
    history.record(tmp_path, event(name="other", submission_sha256="bb", local_score=0.6))
    history.record(tmp_path, event(kind=Kind.SCORE, name="no code", local_score=0.6))
    for name, day, score in (("first", 26, 0.51), ("second", 28, 0.52), ("pending", 29, None)):
        happened = f"2026-11-{day}T10:00:00+00:00"
        sent = event(kind=Kind.SUBMISSION, name=name, submission_sha256="aa", official_score=score, happened=happened)
        history.record(tmp_path, sent)
    official = {one.name: one.official_score for one in history.read(tmp_path)}
    assert official == {"mine": 0.52, "other": None, "no code": None, "first": 0.51, "second": 0.52, "pending": None}


def test_concurrent_writers_lose_no_event(tmp_path):
    writers = [writer(tmp_path, who, 40) for who in "abcd"]
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    assert {one.name for one in history.read(tmp_path)} == {f"{who}-{i}" for who in "abcd" for i in range(40)}


def test_killed_writers_lose_no_noted_event(tmp_path):
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
        assert len(names) <= len(noted) + attempt + 1  # each killed writer may have written one more than it printed
    with sqlite3.connect(tmp_path / history.FILE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_transaction_of_a_killed_writer_is_rolled_back(tmp_path):
    history.record(tmp_path, event(name="before"))
    before = (tmp_path / history.FILE).read_bytes()
    done = subprocess.run([sys.executable, "-c", HALF_DONE, tmp_path / history.FILE], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / history.FILE).read_bytes() != before
    assert [one.name for one in history.read(tmp_path)] == ["before"]
    history.record(tmp_path, event(name="after"))
    assert len(history.read(tmp_path)) == 2


def test_newer_schema_is_refused(tmp_path):
    history.record(tmp_path, event())
    with sqlite3.connect(tmp_path / history.FILE) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    for action in (lambda: history.read(tmp_path), lambda: history.record(tmp_path, event())):
        with pytest.raises(DataError, match="schema version 7; this version of dfdc reads up to 2") as caught:
            action()
        assert "pip install --upgrade" in caught.value.command


@pytest.mark.parametrize("content", [b"no database at all" * 100, None], ids=["text", "another program's database"])
def test_foreign_file_is_refused_and_unchanged(tmp_path, content):
    if content is None:
        with sqlite3.connect(tmp_path / history.FILE) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
    else:
        (tmp_path / history.FILE).write_bytes(content)
    before = (tmp_path / history.FILE).read_bytes()
    for action in (lambda: history.read(tmp_path), lambda: history.record(tmp_path, event())):
        with pytest.raises(DataError, match=r"history.sqlite") as caught:
            action()
        assert caught.value.command.startswith("mv ")
    assert (tmp_path / history.FILE).read_bytes() == before


def test_read_returns_nothing_without_a_history_or_from_an_empty_file(tmp_path):
    assert history.read(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / history.FILE).touch()
    assert history.read(tmp_path) == []
    history.record(tmp_path, event())
    assert len(history.read(tmp_path)) == 1


def test_note_reports_a_lock_that_is_never_released(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "LOCK_TIMEOUT_S", 0.05)
    history.record(tmp_path, event())
    connection = sqlite3.connect(tmp_path / history.FILE, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OutputError, match="locked"):
        history.record(tmp_path, event(name="two"))
    connection.close()


def test_parse_since_reads_periods_and_dates():
    ago = datetime.now(UTC) - datetime.fromisoformat(history.parse_since("36h"))
    assert timedelta(hours=36) <= ago < timedelta(hours=36, minutes=1)
    assert history.parse_since("2026-11-24") == "2026-11-24T00:00:00+00:00"
    assert history.parse_since("2026-11-24T01:30+01:00") == "2026-11-24T00:30:00+00:00"
    with pytest.raises(UsageError, match="Not a time: 'yesterday'"):
        history.parse_since("yesterday")


def test_csv_has_every_column(tmp_path):
    events = [event(data='a, "b"', local_score=1 / 3), event(name="two")]
    rows = list(csv.DictReader(io.StringIO(history.as_csv(events))))
    assert [row["data"] for row in rows] == ['a, "b"', ""]
    assert float(rows[0]["local_score"]) == 1 / 3
    assert rows[1]["local_score"] == ""
    assert set(rows[0]) == set(msgspec.to_builtins(events[0]))


def test_events_are_compared_with_the_best_on_the_same_data(tmp_path):
    for name, data, score, lower in (
        ("a", "x", 0.5, True),
        ("b", "x", 0.7, True),
        ("c", "y", 0.9, True),
        ("d", "z", 0.3, False),
        ("e", "z", 0.8, False),
    ):
        history.record(tmp_path, event(name=name, data=data, local_score=score, local_rows=16, lower_is_better=lower))
    history.record(tmp_path, event(name="f", data="x", local_score=0.1, local_rows=4))
    history.record(tmp_path, event(name="g"))
    best = {one.name: one.best_local_score for one in history.read(tmp_path, limit=6)}
    assert best == {"g": None, "f": 0.1, "e": 0.8, "d": 0.8, "c": 0.9, "b": 0.5}


def test_history_of_schema_1_is_upgraded_when_read_and_when_written(tmp_path):
    for action, count in ((history.read, 2), (lambda runs: history.record(runs, event(name="new")), 3)):
        runs = tmp_path / str(count)
        runs.mkdir()
        with sqlite3.connect(runs / history.FILE) as connection:
            connection.executescript(SCHEMA_1)
        connection.close()
        action(runs)
        events = {one.name: one for one in history.read(runs)}
        assert len(events) == count
        assert events["old"].official_score == 0.6
        assert (events["old"].message, events["sent"].kind) == ("", Kind.SUBMISSION)


def run_folder(runs, name: str) -> None:
    (runs / name).mkdir(parents=True)
    (runs / name / "run.json").write_text("{}")
    os.utime(runs / name / "run.json", ns=(len(list(runs.iterdir())) * 10**9,) * 2)


def test_find_run_accepts_ids_their_start_folders_and_last(tmp_path):
    runs = tmp_path / "runs"
    for name in ("20261124-a", "20261125-b", "20261123-c"):
        run_folder(runs, name)
    assert history.find_run(runs, "20261124-a") == runs / "20261124-a"
    assert history.find_run(runs, "20261125") == runs / "20261125-b"
    assert history.find_run(runs, "last") == runs / "20261123-c"  # the newest file, whatever its name
    assert history.find_run(tmp_path, str(runs / "20261124-a")) == runs / "20261124-a"
    assert history.find_run(tmp_path, str(runs / "20261124-a" / "run.json")) == runs / "20261124-a"
    with pytest.raises(UsageError, match="the start of 3 run ids"):
        history.find_run(runs, "2026")


def test_last_run_with_predictions_is_found_when_the_newest_run_has_none(tmp_path):
    for name in ("a", "interrupted"):
        run_folder(tmp_path, name)
    with pytest.raises(UsageError, match=r"No run in .* has the file submission"):
        history.find_run(tmp_path, "last", "submission.csv")
    (tmp_path / "a" / "submission.csv").touch()
    assert history.find_run(tmp_path, "last", "submission.csv") == tmp_path / "a"
    assert history.find_run(tmp_path, "last") == tmp_path / "interrupted"


def test_find_run_suggests_the_nearest_id(tmp_path):
    with pytest.raises(UsageError, match="No runs in") as caught:
        history.find_run(tmp_path / "none", "last")
    assert caught.value.command == "dfdc run baselines/frame-stats"
    run_folder(tmp_path, "20261124-frame-stats")
    with pytest.raises(UsageError, match="No run 20261124-frame-stat5") as caught:
        history.find_run(tmp_path, "20261124-frame-stat5")
    assert caught.value.hint.startswith("Did you mean '20261124-frame-stats'?")


# -------------------------------------------------------------------------------------------------------- the commands


def test_run_and_score_add_to_the_history(dfdc, root, tmp_path):
    assert dfdc("run", "baselines/constant", "--quiet", "--message", "first [try]").returncode == 0
    (csv_file,) = (tmp_path / "runs").glob("*/submission.csv")
    assert dfdc("score", csv_file, root / "sample_data").returncode == 0
    events = json.loads(dfdc("history", "--json").stdout)
    assert [one["kind"] for one in events] == ["score", "run"]
    assert {f"{one['local_score']:.5f}" for one in events} == {"0.69315"}
    assert events[0]["csv_sha256"] == events[1]["csv_sha256"]
    assert events[0]["data"] == events[1]["data"]
    assert (events[1]["folder"], events[1]["message"]) == (csv_file.parent.name, "first [try]")
    assert json.loads((csv_file.parent / "run.json").read_text())["message"] == "first [try]"
    lines = dfdc("history").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines == [line.rstrip() for line in lines]
    assert re.search(r"^\d{8}-\d{6}-constant +complete +sample_data +0.69314 +best$", lines[2])
    assert lines[3] == "  first [try]"
    assert len(dfdc("history", "--csv", "--kind", "score").stdout.splitlines()) == 2
    assert dfdc("open", "last").stdout == f"runs/{csv_file.parent.name}/report.html\n"
    assert dfdc("rejudge", "last").returncode == 0
    assert dfdc("rejudge", "nosuch").returncode == 2


def test_run_counts_when_the_history_cannot_be_written(dfdc, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / history.FILE).write_text("something else, longer than a header of a database\n" * 9)
    done = dfdc("run", "baselines/constant", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["score"]["displayed"] == "0.69314"
    assert "warning: Not added to the history: runs/history.sqlite is damaged" in done.stderr
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 1


def test_history_refuses_wrong_options_and_says_when_it_is_empty(dfdc):
    done = dfdc("history", "--since", "soon")
    assert (done.returncode, "Not a time: 'soon'" in done.stderr) == (2, True)
    assert dfdc("history", "--csv", "--json").returncode == 2
    assert "No history yet" in dfdc("history").stdout


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_history_works_without_file_locks_and_warns_once(tmp_path, monkeypatch, number):
    def no_locks(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    warnings = []
    for name in ("a", "b"):
        history.record_or_warn(tmp_path, event(name=name), warnings.append)
    assert len(history.read(tmp_path)) == 2
    assert [text.endswith("do not run a second command on it at the same time.") for text in warnings] == [True]
