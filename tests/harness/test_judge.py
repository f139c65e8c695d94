"""Why a run failed, told from what real programs leave in their log."""

import json
import subprocess
import sys

import pytest

from dfdc_kit.harness.judge import _error

FIRST = "import sys, time, traceback\ntry:\n    open('model.pt')\nexcept OSError:\n    traceback.print_exc()\n"
GROUP = "raise ExceptionGroup('several failed', [ValueError('a'), TypeError('b')])"
THREAD = "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.3), {})).start()\n"


def log_of(source: str) -> list[str]:
    """What Python writes for this program, its end alone, as a report keeps it."""
    done = subprocess.run([sys.executable, "-u", "-c", source], stdout=-1, stderr=-2, text=True, timeout=60)
    assert done.returncode == 1
    return done.stdout.splitlines()[-40:]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            r"raise RuntimeError('CUDA error: out of memory\nCompile with another option')",
            "Compile with another option",
        ),
        (FIRST + "sys.exit('no model found')", "no model found"),
        (
            FIRST + "print('trying the next', 'and the next', '...', sep='\\n'); sys.exit('no model found')",
            "no model found",
        ),
        ("print('RuntimeError: trying again')\nimport sys\nsys.exit('no model found')", "no model found"),
    ],
    ids=["message-of-two-lines", "at-once", "later", "only-named"],
)
def test_a_handled_traceback_is_told_with_what_was_said_last(source, said):
    told = _error(log_of(source))
    assert told.endswith(f"It said last: {said}")
    assert "Error" in told  # it may be what led there, or what it said may be a part of its message: nothing is lost


@pytest.mark.parametrize(
    "source",
    [
        "raise ValueError('the reason')",
        FIRST + "raise ValueError('the reason')",
        "class Bad:\n    def __del__(self): raise OSError('late')\nbad = Bad()\nraise ValueError('the reason')",
        "import atexit\natexit.register(lambda: 1 / 0)\nraise ValueError('the reason')",
        "import atexit, warnings\natexit.register(warnings.warn, 'leaked')\nraise ValueError('the reason')",
        "from multiprocessing import shared_memory\nkept = shared_memory.SharedMemory(create=True, size=9)\n"
        "raise ValueError('the reason')",
        THREAD.format("1 / 0") + "raise ValueError('the reason')",
        "try:\n    {}['w']\nexcept KeyError:\n    raise ValueError('the reason')",
        "def f():\n    class Own(ValueError): pass\n    raise Own('the reason')\nf()",
        "def down(n):\n    if n: down(n - 1)\n    raise ValueError('the reason')\ndown(30)",
        "e = ValueError('the reason')\nraise e",
    ],
    ids=["plain", "after-a-handled", "del", "atexit", "warning", "tracker", "thread", "chained", "own", "deep", "bare"],
)
def test_what_python_writes_at_exit_does_not_hide_the_reason(source):
    told = _error(log_of(source))
    assert told.replace("f.<locals>.Own", "ValueError") == "ValueError: the reason"


def test_words_of_another_thread_do_not_lose_the_reason():
    told = _error(log_of(THREAD.format("print('still here')") + "raise ValueError('the reason')"))
    assert told == "ValueError: the reason. It said last: still here"


def test_a_thread_that_failed_is_named_where_nothing_else_is():
    told = _error(log_of(THREAD.format("1 / 0") + "time.sleep(1)\nraise SystemExit(1)"))
    assert told == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("before", ["", FIRST])
def test_a_group_is_named_with_its_first_member(before):
    told = _error(log_of(before + GROUP))
    assert told == "ExceptionGroup: several failed (2 sub-exceptions); the first: ValueError: a"


def test_a_group_whose_members_have_tracebacks_of_their_own():
    source = (
        "import asyncio\n"
        "async def fails(text):\n    raise ValueError(text)\n"
        "async def main():\n"
        "    async with asyncio.TaskGroup() as group:\n"
        "        group.create_task(fails('a: 1')); group.create_task(fails('b'))\n"
        "asyncio.run(main())"
    )
    told = _error(log_of(source))
    assert told == "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions); the first: ValueError: a: 1"


def test_a_table_is_no_group():
    assert _error(log_of("print(' | a | b |\\n +---+---+\\n', '| 1 | 2 |'); raise SystemExit(1)")) == "| 1 | 2 |"


def test_why_tells_both(dfdc, code_submission):
    done = dfdc("run", code_submission(FIRST + "sys.exit('no model found')"), "--json")
    judgement = json.loads(done.stdout)["judgement"]
    assert judgement["why"].startswith("Exit code 1. FileNotFoundError: [Errno 2]")
    assert "It said last: no model found." in judgement["why"]
    assert "said after that" in judgement["fix"]


@pytest.fixture
def judged(dfdc, code_submission, tmp_path):
    """Run a source with 400 MiB of memory; its judgement."""

    def call(source: str, backend: str) -> dict[str, str]:
        limits = f"wall_time_s = 60.0\nmemory_bytes = {400 << 20}"
        text = f'title = "tight"\nas_of = "2026-11-26"\n[limits]\n{limits}\n[hardware]\n[source]\n'
        (tmp_path / "tight.toml").write_text(text)
        options = ("--backend", backend, "--profile", tmp_path / "tight.toml", "--json")
        return json.loads(dfdc("run", code_submission(source), *options).stdout)["judgement"]

    return call


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
@pytest.mark.parametrize("ends", ["os._exit(137)", "os.kill(os.getpid(), 9)"])
def test_memory_is_named_for_sigkill_only_where_much_was_used(judged, backend, ends):
    """137 is 128 + SIGKILL: the kernel's answer to too much memory, or a choice of the program's own."""
    told = judged(f"import os\n{ends}", backend)
    assert "137" in told["why"]
    assert told["fix"].startswith("Something inside killed it, or it chose that code itself; memory is not the likely")


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_memory_is_one_possibility_where_much_was_used(judged, backend):
    source = "import os, time\nx = b'x' * (250 << 20)\ntime.sleep(2.5)\nos._exit(137)"
    assert "Too much memory is one possible reason" in judged(source, backend)["fix"]


@pytest.mark.parametrize("name", ["only.py", "only.ipynb"])
def test_a_module_left_beside_a_single_file_is_no_package_to_install(dfdc, tmp_path, name):
    (tmp_path / "beside.py").write_text("answer = 0.5")
    cell = {"cell_type": "code", "metadata": {}, "source": "import beside", "outputs": [], "execution_count": None}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    (tmp_path / name).write_text(json.dumps(notebook) if name.endswith("ipynb") else "import beside")
    done = dfdc("run", tmp_path / name, "--json")
    judgement = json.loads(done.stdout)["judgement"]
    assert "No module named 'beside'" in judgement["why"]
    assert "A single .py or .ipynb file brings nothing else: if it is a file of yours, submit" in judgement["fix"]
    again = dfdc("rejudge", next((tmp_path / "runs").glob("*/")), "--json")
    assert json.loads(again.stdout)["differences"] == []
