"""Why a program failed, read from logs that real programs leave."""

import subprocess
import sys

import pytest

from dfdc_kit.harness.log_parser import summarize_failure

HANDLED = "import sys, time, traceback\ntry:\n    open('model.pt')\nexcept OSError:\n    traceback.print_exc()\n"
GROUP = "raise ExceptionGroup('several failed', [ValueError('a'), TypeError('b')])"
THREAD = "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.3), {})).start()\n"


def log_of(source: str) -> list[str]:
    """The last lines that Python writes for this failing program, as a report keeps them."""
    done = subprocess.run([sys.executable, "-u", "-c", source], stdout=-1, stderr=-2, text=True, timeout=60)
    assert done.returncode == 1
    return done.stdout.splitlines()[-40:]


@pytest.mark.parametrize(
    ("source", "last"),
    [
        (
            r"raise RuntimeError('CUDA error: out of memory\nCompile with another option')",
            "Compile with another option",
        ),
        (HANDLED + "sys.exit('no model found')", "no model found"),
        (
            HANDLED + "print('trying the next', 'and the next', '...', sep='\\n'); sys.exit('no model found')",
            "no model found",
        ),
        ("print('RuntimeError: trying again')\nimport sys\nsys.exit('no model found')", "no model found"),
    ],
    ids=["message-of-two-lines", "at-once", "later", "only-named"],
)
def test_output_after_a_handled_traceback_is_named_with_it(source, last):
    found = summarize_failure(log_of(source))
    assert found.endswith(f"Last output: {last}")
    assert "Error" in found  # either may be the reason, so both are named


@pytest.mark.parametrize(
    "source",
    [
        "raise ValueError('the reason')",
        HANDLED + "raise ValueError('the reason')",
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
def test_reason_is_found_when_python_writes_more_at_exit(source):
    found = summarize_failure(log_of(source))
    assert found.replace("f.<locals>.Own", "ValueError") == "ValueError: the reason"


def test_exception_is_reported_when_another_thread_prints_after_it():
    found = summarize_failure(log_of(THREAD.format("print('still here')") + "raise ValueError('the reason')"))
    assert found == "ValueError: the reason. Last output: still here"


def test_exception_of_a_thread_is_reported_when_the_main_program_has_none():
    found = summarize_failure(log_of(THREAD.format("1 / 0") + "time.sleep(1)\nraise SystemExit(1)"))
    assert found == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("before", ["", HANDLED])
def test_exception_group_is_reported_with_its_first_exception(before):
    found = summarize_failure(log_of(before + GROUP))
    assert found == "ExceptionGroup: several failed (2 sub-exceptions); the first: ValueError: a"


def test_exception_group_of_asyncio_tasks_is_reported_with_its_first_exception():
    source = (
        "import asyncio\n"
        "async def fails(text):\n    raise ValueError(text)\n"
        "async def main():\n"
        "    async with asyncio.TaskGroup() as group:\n"
        "        group.create_task(fails('a: 1')); group.create_task(fails('b'))\n"
        "asyncio.run(main())"
    )
    found = summarize_failure(log_of(source))
    assert found == "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions); the first: ValueError: a: 1"


def test_printed_table_is_not_taken_for_an_exception_group():
    assert (
        summarize_failure(log_of("print(' | a | b |\\n +---+---+\\n', '| 1 | 2 |'); raise SystemExit(1)"))
        == "| 1 | 2 |"
    )
