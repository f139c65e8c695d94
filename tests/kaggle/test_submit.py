"""The command `dfdc submit` against a fake Kaggle: in a script, on a terminal, interrupted, without network."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = """
import os, pathlib
text = pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'sample_submission.csv').read_text()
pathlib.Path('submission.csv').write_text(text.replace(',0', ',0.5'))
"""
QUICK = ("--poll", "0.02")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A submission, and the runs folder of a complete run of it."""
    base = tmp_path_factory.mktemp("finished")
    (base / "mine").mkdir()
    (base / "mine" / "main.py").write_text(SOURCE)
    (base / "mine" / "weights.bin").write_text("x")
    words = [sys.executable, "-m", "dfdc_kit", "run", "mine", "--quiet"]
    subprocess.run(words, cwd=base, check=True, capture_output=True)
    return base


@pytest.fixture
def mine(finished, tmp_path, kaggle_server) -> Path:
    """A copy of it, with its run, and a Kaggle whose hosted runs leave a valid file."""
    kaggle_server.world.kernel_outputs = {"submission.csv": b"filename,label\na.mp4,0.5\n"}
    for name in ("mine", "runs"):
        shutil.copytree(finished / name, tmp_path / name)
    return tmp_path / "mine"


def test_submit_in_a_script_prints_json(dfdc, mine, kaggle_server, tmp_path):
    done = dfdc("submit", mine, "--yes", "--no-rehearsal", "--json", *QUICK)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["official_score"], result["outcome"], result["rehearsal"]) == (0.5, "complete", "skipped")
    assert "warning: submitted without a rehearsal, as asked" in done.stderr
    rows = json.loads(dfdc("history", "--json").stdout)
    assert [(row["kind"], row["official_score"]) for row in rows] == [("submission", 0.5), ("run", 0.5)]
    again = dfdc("submit", mine, "--yes", "--no-rehearsal", *QUICK)
    assert (again.returncode, "was submitted already" in again.stderr) == (2, True)


def test_submit_without_terminal_needs_yes(dfdc, mine, kaggle_server, tmp_path):
    done = dfdc("submit", mine)
    assert (done.returncode, "Add --yes" in done.stderr) == (2, True)
    assert kaggle_server.requests == []
    assert len(list((tmp_path / "runs").iterdir())) == 2  # the run and the history, as before


def test_submit_refuses_code_without_a_rehearsal(dfdc, mine, kaggle_server):
    done = dfdc("submit", mine, "--yes")
    assert (done.returncode, "--no-rehearsal to skip" in done.stderr) == (1, True)
    assert {seen.call for seen in kaggle_server.requests} == {"GetSubmissionLimits"}


def test_submit_runs_locally_first_when_no_run_exists(dfdc, mine, kaggle_server, tmp_path):
    shutil.rmtree(tmp_path / "runs")
    done = dfdc("submit", mine, "--yes", "--no-rehearsal", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "running it here first" in done.stdout
    (row,) = json.loads(dfdc("history", "--kind", "submission", "--json").stdout)
    assert (round(row["local_score"], 5), row["official_score"]) == (0.69315, 0.5)


def test_submit_sends_nothing_when_the_local_run_fails(dfdc, code_submission, kaggle_server):
    done = dfdc("submit", code_submission("raise ValueError('no model')"), "--yes", "--no-rehearsal")
    assert done.returncode == 1
    assert "The local run ended with the verdict exception" in done.stderr
    assert "less runs/" in done.stderr
    assert {seen.call for seen in kaggle_server.requests} == {"GetSubmissionLimits"}


def test_dry_run_needs_neither_network_nor_client(code_submission, tmp_path):
    folder = code_submission("pass")
    (folder / "weights.bin").write_text("x")
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "sys.modules['kaggle'] = sys.modules['kagglesdk'] = sys.modules['requests'] = None\n"
        "sys.argv = ['dfdc', 'submit', sys.argv[1], '--dry-run', '--json']\n"
        "from dfdc_kit.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [call["method"] for call in plan["calls"]] == [
        "competition_get_submission_limits",
        "dataset_status",
        "dataset_create_new",
        "dataset_status",
        "kernels_push",
        "kernels_status",
        "kernels_logs",
        "kernels_output",
        "competition_get_submission_limits",
        "competition_submit_code",
        "competition_submissions",
    ]
    assert plan["kernel_metadata"]["enable_internet"] is False
    assert plan["dataset_files"] == ["main.py", "submission.toml", "weights.bin"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trial"]  # nothing is left


def test_dry_run_prints_one_line_a_call_without_trailing_blanks(dfdc, code_submission):
    done = dfdc("submit", code_submission("pass"), "--dry-run")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    calls = [line.split()[1] for line in lines if re.match(r" *\d+  \w", line)]
    assert len(calls) == 11
    assert "refused    This code has not been rehearsed" in done.stdout
    assert "refused" not in dfdc("submit", "trial", "--dry-run", "--no-rehearsal").stdout


def test_dry_run_lists_the_calls_of_a_real_run(dfdc, mine, kaggle_server):
    """The server sees each listed call, in the same order, apart from repetitions."""
    plan = json.loads(dfdc("submit", mine, "--dry-run", "--json").stdout)
    assert dfdc("submit", mine, "--yes", "--no-rehearsal", *QUICK).returncode == 0
    planned = [name for call in plan["calls"] for name in call["service"].split(", ")]
    seen = [one.call or one.method for one in kaggle_server.requests]
    at = 0
    for name in planned:
        if name in seen[at:]:
            at = seen.index(name, at) + 1
        else:  # a missing dataset has no status
            assert name == "GetDatasetStatus"
    assert set(seen) == set(planned)


def test_submit_resumes_after_ctrl_c(dfdc, mine, kaggle_server, tmp_path):
    kaggle_server.world.kernel_statuses = ["RUNNING"]
    words = [sys.executable, "-m", "dfdc_kit", "submit", mine, "--yes", "--no-rehearsal", *QUICK]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while not kaggle_server.calls("GetKernelSessionStatus"):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=120)
        finally:
            process.kill()  # one that ignores Ctrl-C would poll for ever
    assert process.returncode == 130
    assert "Stopped. Run the same command again to continue." in said
    assert "Traceback" not in said
    kaggle_server.world.kernels["ada/dfdc-mine"][0]["_statuses"] = ["COMPLETE"]
    done = dfdc("submit", mine, "--yes", "--no-rehearsal", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stdout
    assert len(kaggle_server.calls("SaveKernel")) == 1
    assert len(kaggle_server.world.submissions) == 1


@pytest.mark.parametrize(("answer", "exit_code", "submissions"), [("y", 0, 1), ("n", 2, 0)])
def test_submit_asks_on_a_terminal(mine, kaggle_server, tmp_path, answer, exit_code, submissions):
    kaggle_server.world.latency_s = 0.1  # time for the waiting sign to turn while a call is made
    words = [sys.executable, "-m", "dfdc_kit", "submit", mine, "--no-rehearsal", *QUICK]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        words, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], 60)[0] and seen.count(b"\n") < 30:  # it turns in its place, without lines
            try:
                seen += os.read(ours, 4096)
            except OSError:  # the other end is closed: it has ended
                break
            if b"[y/N]" in seen and answer:
                os.write(ours, f"{answer}\n".encode())
                answer = ""
        else:
            process.kill()
    shown = seen.decode("utf-8", "replace")
    os.close(ours)
    assert process.returncode == exit_code, shown
    assert "0 made today, 2 left" in shown
    assert len(kaggle_server.world.submissions) == submissions
    if not submissions:
        assert "Not submitted" in shown


def test_a_folder_that_cannot_be_written(dfdc, mine, kaggle_server, tmp_path):
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "runs").write_text("a file")
    done = dfdc("submit", mine, "--yes")
    assert (done.returncode, "Cannot write" in done.stderr, "--out DIR" in done.stderr) == (4, True, True)


def test_missing_credentials_are_reported_before_any_run(dfdc, mine, kaggle_server, tmp_path):
    shutil.rmtree(tmp_path / "runs")
    done = dfdc("submit", mine, "--yes", "--rehearse", KAGGLE_KEY="", KAGGLE_USERNAME="")
    assert (done.returncode, "No Kaggle credentials" in done.stderr) == (5, True)
    assert not list((tmp_path / "runs").glob("*/run.json"))


def test_submit_reports_usage_errors(dfdc, mine):
    done = dfdc("submit", mine, "--accelerator", "NvidiaTeslaP100", "--dry-run")
    assert (done.returncode, "Ask for it: --accelerator NvidiaTeslaT4" in done.stderr) == (2, True)
    assert dfdc("submit", "nowhere", "--dry-run").returncode == 2
