"""How a command ends when its output cannot be written, or when it is stopped: no traceback, and no run is lost."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from dfdc_kit import profiles
from dfdc_kit.report import run_report

CHATTY = """
import os, pathlib
rows = pathlib.Path(os.environ["DFDC_INPUT_DIR"], "sample_submission.csv").read_text().split()[1:]
for number in range(20):
    print("line \\u00e9", number, flush=True)
pathlib.Path("submission.csv").write_text("filename,label\\n" + "".join(row.split(",")[0] + ",0.5\\n" for row in rows))
"""
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@pytest.fixture
def one_video(tmp_path, sample) -> Path:
    """A folder with one video of no content, and its expected row: a run that takes as little time as it can."""
    folder = tmp_path / "data"
    (folder / "test_videos").mkdir(parents=True)
    (folder / "test_videos" / "a.mp4").touch()
    (folder / "sample_submission.csv").write_text("filename,label\na.mp4,0\n")
    return folder


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `dfdc` is the command; its exit code is that of the first program of a pipe."""
    line = f"dfdc() {{ '{sys.executable}' -m dfdc_kit \"$@\"; }}; {command}; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", **environment}
    return subprocess.run(
        ["bash", "-c", line], cwd=cwd, env=environment, capture_output=True, text=True, errors="replace", timeout=120
    )


def only_run(tmp_path: Path) -> run_report.RunReport:
    return run_report.load(next((tmp_path / "runs").glob("*/")))


@pytest.mark.parametrize(
    ("where", "code"), [("| head -1", 141), (">&- 2>&-", 0), pytest.param("> /dev/full", 4, marks=needs_full)]
)
def test_a_run_completes_when_its_output_cannot_be_written(where, code, code_submission, one_video, tmp_path):
    code_submission(CHATTY)
    done = shell(f"dfdc run trial --backend process --data data {where}", tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert only_run(tmp_path).judgement.verdict.value == "complete"


def test_a_run_completes_when_the_reader_pauses_beyond_the_time_limit(code_submission, one_video, tmp_path):
    """More output than a pipe holds, and nobody reads until after the limit: as with Ctrl-S, or in a pager."""
    code_submission("print('x' * 99 + '\\n', end='', flush=True)\nfor _ in range(5000): print('y' * 99)\n" + CHATTY)
    limits = 'title = "t"\nas_of = "2026-11-26"\n[limits]\nwall_time_s = 20\n[hardware]\n[source]\n'
    (tmp_path / "tight.toml").write_text(limits)
    command = "dfdc run trial --backend process --data data --profile tight.toml"
    done = shell(
        f"{command} | (until [ -e runs/*/run.json ]; do sleep 0.1; ((SECONDS > 25)) && break; done; cat)", tmp_path
    )
    assert done.returncode == 0, done.stdout[-500:]
    assert only_run(tmp_path).judgement.verdict.value == "complete"


def test_text_that_the_terminal_cannot_encode_is_escaped(code_submission, one_video, tmp_path):
    code_submission(CHATTY)
    done = shell("dfdc run trial --backend process --data data", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "line \\xe9 0" in done.stdout


@pytest.mark.parametrize(
    ("wrapper", "number", "code", "verdict"),
    [
        ([], signal.SIGTERM, 143, "interrupted"),
        ([], signal.SIGHUP, 129, "interrupted"),
        (["nohup"], signal.SIGHUP, 1, "csv-not-found"),
    ],
)
def test_a_run_handles_stop_signals_as_ctrl_c_unless_started_with_nohup(
    wrapper, number, code, verdict, code_submission, one_video, tmp_path
):
    wait = "time.sleep(600)" if not wrapper else "[time.sleep(0.05) for _ in range(40) if not os.path.exists(go)]"
    code_submission(f"import os, time\ngo = {str(tmp_path / 'go')!r}\nprint('up', flush=True)\n{wait}\n")
    command = [*wrapper, sys.executable, "-m", "dfdc_kit", "run", "trial", "--backend", "process", "--data", "data"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        while "up" not in process.stdout.readline():
            pass
        process.send_signal(number)
        (tmp_path / "go").touch()
        process.stdout.read()
    assert process.returncode == code
    folder = next((tmp_path / "runs").glob("*/"))
    assert sorted(path.name for path in folder.iterdir()) == ["log.txt", "report.html", "run.json"]
    assert only_run(tmp_path).judgement.verdict.value == verdict


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("dfdc --version >&-", 0),
        ("dfdc profiles 2>&-", 0),
        ("dfdc profiles --json | true", 141),
        pytest.param("dfdc profiles --json > /dev/full", 4, marks=needs_full),
    ],
)
def test_a_command_ends_without_traceback_when_a_stream_is_closed_or_full(command, code, tmp_path):
    done = shell(command, tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert code != 4 or "error[output-error]: The output cannot be written: No space left" in done.stderr


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    done = shell("dfdc new $'d\\xe9t'", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error[usage-error]: 'd\\udce9t' contains bytes that are not UTF-8.")
    assert not list(tmp_path.iterdir())
    done = shell("mkdir $'d\\xe9t'; cd $'d\\xe9t'; dfdc new mine", tmp_path)
    assert done.returncode == 2
    assert "d\\udce9t' contains bytes that are not UTF-8." in done.stderr


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ELOOP, errno.ENOLCK, errno.EIO, errno.ESTALE]
)
def test_an_unexpected_os_error_is_one_sentence_and_exit_code_4(number, dfdc, monkeypatch):
    def fails() -> list[str]:
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr(profiles, "names", fails)
    done = dfdc("profiles")
    assert done.returncode == 4
    assert done.stdout == ""
    first, *hints = done.stderr.splitlines()
    assert first == f"error[output-error]: /some/file: {os.strerror(number)}."
    assert all(line.startswith("  hint: ") for line in hints)


def test_a_loop_of_links_is_no_traceback(dfdc, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    done = dfdc("validate", "loop")
    assert done.returncode in (1, 2, 3, 4)
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["runn"], "Did you mean 'run'?"),
        (["data", "sttus"], "Did you mean 'status'?"),
        (["run", "x", "--bakend", "oci"], "Did you mean '--backend'?"),
        (["history", "--kind", "rn"], "Did you mean 'run'?"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest_one(dfdc, arguments, hint):
    done = dfdc(*arguments)
    assert done.returncode == 2
    assert hint in done.stderr
    assert done.stderr.startswith("error[usage-error]: ")
    assert "--help\n" in done.stderr.splitlines(keepends=True)[-1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError, typer.Abort])  # Ctrl-C; Ctrl-D, Ctrl-C at a question
def test_command_that_is_stopped_prints_one_line_and_exits_with_130(dfdc, monkeypatch, error):
    def interrupted() -> list[str]:
        raise error

    monkeypatch.setattr(profiles, "names", interrupted)
    done = dfdc("profiles")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def test_ctrl_c_while_a_finalizer_runs_is_not_lost(tmp_path):
    """Python ignores what a finalizer raises, and connections are closed in finalizers."""
    source = """if True:
        import os, signal, sys, time
        from dfdc_kit.cli import app, main

        class Connection:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

        def command(standalone_mode):
            Connection()
            time.sleep(60)

        app.app_for = lambda arguments: command
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_help_of_a_group_without_a_command_is_printed_once(dfdc):
    done = dfdc("data")
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("Usage: dfdc data") == 1
