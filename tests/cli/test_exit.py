"""How a command ends when its output cannot be written, or somebody ends it: tidily, and no run is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dfdc_kit.report import run_report

CHATTY = """
import os, pathlib, time
rows = pathlib.Path(os.environ["DFDC_INPUT_DIR"], "sample_submission.csv").read_text().split()[1:]
for number in range(20):
    print("line \\u00e9", number, flush=True)
    time.sleep(0.03)
pathlib.Path("submission.csv").write_text("filename,label\\n" + "".join(row.split(",")[0] + ",0.5\\n" for row in rows))
"""
FULL = Path("/dev/full")


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `dfdc` is the command; its exit code is that of the first program of a pipe."""
    line = f"dfdc() {{ '{sys.executable}' -m dfdc_kit \"$@\"; }}; {command}; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", **environment}
    return subprocess.run(
        ["bash", "-c", line], cwd=cwd, env=environment, capture_output=True, text=True, errors="replace", timeout=120
    )


def the_run(tmp_path: Path) -> run_report.RunReport:
    return run_report.load(next((tmp_path / "runs").glob("*/")))


@pytest.mark.parametrize(
    ("where", "code"), [("| head -1", 141), (">&-", 0), ("2>&-", 0), pytest.param("> /dev/full", 4, id="full")]
)
def test_a_run_goes_on_when_nobody_can_see_it(where: str, code: int, code_submission, tmp_path):
    if "full" in where and not FULL.exists():
        pytest.skip("there is no /dev/full")
    code_submission(CHATTY)
    done = shell(f"dfdc run trial {where}", tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert the_run(tmp_path).score.displayed == "0.69314"


def test_a_reader_that_pauses_does_not_stop_the_watch(code_submission, tmp_path):
    """More than a pipe holds, and nobody reads until long after the limit: as with Ctrl-S, or in a pager."""
    code_submission("print('x' * 99 + '\\n', end='', flush=True)\nfor _ in range(5000): print('y' * 99)\n" + CHATTY)
    limits = 'title = "t"\nas_of = "2026-11-26"\n[limits]\nwall_time_s = 4\n[hardware]\n[source]\n'
    (tmp_path / "tight.toml").write_text(limits)
    done = shell("dfdc run trial --profile tight.toml | (sleep 9; tail -5)", tmp_path)
    assert done.returncode == 0, done.stdout
    assert the_run(tmp_path).judgement.verdict.value == "complete"
    assert the_run(tmp_path).observation.outcome.usage.wall_time_s < 4


def test_what_a_terminal_cannot_show_is_spelt_out(code_submission, tmp_path):
    code_submission(CHATTY)
    done = shell("dfdc run trial", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "line \\xe9 0" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_is_as_ctrl_c(number: signal.Signals, code_submission, tmp_path):
    code_submission("import time\nprint('up', flush=True)\ntime.sleep(600)")
    command = [sys.executable, "-m", "dfdc_kit", "run", "trial"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "up" not in process.stdout.readline():
            pass
        process.send_signal(number)
        process.stdout.read()
    assert process.returncode == 128 + number
    folder = next((tmp_path / "runs").glob("*/"))
    assert sorted(path.name for path in folder.iterdir()) == ["log.txt", "report.html", "run.json"]
    assert the_run(tmp_path).judgement.verdict.value == "interrupted"


def test_nohup_is_heeded(code_submission, tmp_path):
    code_submission("import time\nprint('up', flush=True)\ntime.sleep(1.5)")
    command = ["nohup", sys.executable, "-m", "dfdc_kit", "run", "trial"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        while "up" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGHUP)
        process.stdout.read()
    assert the_run(tmp_path).judgement.verdict.value == "csv-not-found"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("dfdc --version >&-", 0),
        ("dfdc profiles 2>&-", 0),
        ("dfdc parity | true", 141),
        ("dfdc parity --json | true", 141),
        ("dfdc profiles --json > /dev/full", 4),
    ],
)
def test_streams_that_are_gone(command: str, code: int, tmp_path):
    if "/dev/full" in command and not FULL.exists():
        pytest.skip("there is no /dev/full")
    done = shell(command, tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert code != 4 or "error[output-error]: The output cannot be written: No space left" in done.stderr


def test_a_name_that_is_no_text_is_refused(tmp_path):
    done = shell("dfdc new $'d\\xe9t'", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error[usage-error]: 'd\\udce9t' holds bytes that are not UTF-8.")
    assert not list(tmp_path.iterdir())
