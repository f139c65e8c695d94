"""Every backend stops a job at its limits, reports how it ended, and leaves no process behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfdc_kit.errors import SandboxError
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import BACKENDS, enforcement, supervise
from dfdc_kit.sandbox.base import Ending, Job
from dfdc_kit.sandbox.monitor.watchdog import Watchdog
from dfdc_kit.sandbox.supervise import prune

MIB = 1 << 20


def test_outcome_has_exit_code_log_and_usage_when_a_program_succeeds(run_source):
    outcome, printed = run_source("import os; print(os.getcwd())")
    assert (outcome.ending, outcome.exit_code, outcome.signal) == (Ending.EXIT, 0, None)
    assert outcome.left_running == (None if run_source.backend == "bubblewrap" else 0)
    assert printed.decode().strip().endswith("/kaggle/working")
    assert run_source.log.read_bytes() == printed
    assert 0 < outcome.usage.wall_time_s < 30
    assert outcome.usage.peak_memory_bytes > MIB


def test_log_interleaves_stdout_and_stderr_in_order(run_source):
    source = "import sys\nfor i in range(50): print(i, file=(sys.stdout, sys.stderr)[i % 2], flush=True)"
    assert run_source(source)[1].split() == [str(i).encode() for i in range(50)]


def test_outcome_has_the_exit_code_when_a_program_fails(run_source):
    assert run_source("raise SystemExit(7)")[0].exit_code == 7


def test_exit_code_153_is_not_taken_for_an_exceeded_output_limit(run_source):
    outcome, _ = run_source("raise SystemExit(153)", output_bytes=8 * MIB)
    assert outcome.ending in (Ending.EXIT, Ending.SIGNAL)


def test_outcome_has_the_signal_when_a_program_crashes(run_source):
    outcome, _ = run_source("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert (outcome.ending, outcome.signal, outcome.exit_code) == (Ending.SIGNAL, 11, None)


@pytest.mark.parametrize(
    "source",
    [
        "import time; time.sleep(60)",
        "while True: pass",
        "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(60)",
        "import os, time\nos.setsid() if os.fork() == 0 else None\ntime.sleep(60)",
    ],
    ids=["sleeps", "spins", "ignores-sigterm", "child-in-own-session"],
)
def test_wall_time_limit_stops_a_program_that_does_not_end(run_source, source):
    outcome, _ = run_source(source, wall_time_s=0.5)
    assert outcome.ending is Ending.WALL_TIME
    assert outcome.usage.wall_time_s >= 0.5


def test_wall_time_limit_holds_while_the_harness_is_busy(run_source, monkeypatch):
    monkeypatch.setattr(Watchdog, "exceeded", lambda self: time.sleep(2))
    outcome, _ = run_source("import time; time.sleep(1.5)", wall_time_s=0.5)
    assert outcome.ending is Ending.WALL_TIME
    assert 0.5 <= outcome.usage.wall_time_s < 1.4


def test_daemon_in_its_own_session_is_killed_at_the_end(run_source):
    outcome, _ = run_source(
        "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(60)\n time.sleep(60)"
    )
    assert outcome.ending is Ending.EXIT
    assert (
        outcome.left_running or 0
    ) >= 1 or run_source.backend == "bubblewrap"  # there it ends with its namespace, uncounted


def test_cpu_time_counts_children_that_were_not_waited_for(run_source):
    """The child has used 0.5 s of CPU time, and is still alive when its parent ends."""
    child = "import time\nwhile time.process_time() < 0.5: pass\nopen('used', 'w'); time.sleep(60)"
    source = f"""import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {child!r}])
while not os.path.exists("used"): time.sleep(0.05)
time.sleep(1.2)"""
    outcome, _ = run_source(source)
    assert outcome.usage.cpu_time_s > 0.4


def test_log_limit_drops_the_middle_of_a_flood_and_counts_it(run_source):
    """The beginning and the end of the log are kept; the run goes on."""
    source = "import sys\nprint('first')\nfor _ in range(64): sys.stdout.write('x' * (1 << 20))\nprint('last words')"
    outcome, printed = run_source(source, log_bytes=1000)
    assert outcome.exit_code == 0
    assert outcome.usage.log_bytes == len(printed) > 64 * MIB
    log = run_source.log.read_bytes()
    assert log.startswith(b"first")
    assert log.endswith(b"last words\n")
    assert b"bytes of output dropped here" in log
    assert len(log) < 300_000


def test_missing_command_raises_sandbox_error(tmp_path):
    job = Job(
        command=["/no/such/program"],
        environment={},
        stage=tmp_path,
        working=tmp_path,
        temporary=tmp_path,
        log=tmp_path / "log.txt",
    )
    with pytest.raises(SandboxError, match="No such file"):
        BACKENDS["process"].run(job, Limits(), lambda _: None)


SIGNALS = """
import ctypes, fcntl, os, resource, signal
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0: raise OSError(ctypes.get_errno(), "")
def owner(pid):
    reader, writer = os.pipe()
    fcntl.fcntl(reader, 10, signal.SIGKILL)
    fcntl.fcntl(reader, fcntl.F_SETOWN, pid)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writer, b"x")
ways = {
    "kill": lambda pid: os.kill(pid, signal.SIGKILL),
    "group": lambda pid: os.killpg(os.getpgid(pid), signal.SIGKILL),
    "thread": lambda pid: check(libc.syscall({"x86_64": 234, "aarch64": 131}[os.uname().machine], pid, pid, 9)),
    "handle": lambda pid: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL),
    "limits": lambda pid: resource.prlimit(pid, resource.RLIMIT_CPU, (0, 0)),
    "owner": owner,
}
for name, way in ways.items():
    try: way(PID)
    except OSError: print("held", flush=True)
    else: print("ESCAPED", name, flush=True)
"""


@pytest.mark.parametrize("who", ["supervisor", "harness"])
def test_filter_blocks_signals_where_landlock_cannot(who, tmp_path, monkeypatch):
    """Landlock before version 6 lets a signal pass: a filter of system calls holds it."""
    if reason := enforcement.why_unavailable("filter"):
        pytest.skip(reason)
    without = enforcement.START.replace(
        "; supervisor.run", "; supervisor.confine.landlock.SIGNALS_AND_ABSTRACT_SOCKETS = 0; supervisor.run"
    )
    monkeypatch.setattr(supervise, "SUPERVISOR", (*enforcement.SUPERVISOR[:-1], without))
    for name in ("kaggle/input", "kaggle/src", "kaggle/working", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    pid = "os.getppid()" if who == "supervisor" else str(os.getpid())
    job = Job(
        command=[sys.executable, "-I", "-S", "-c", SIGNALS.replace("PID", pid)],
        environment={},
        stage=tmp_path,
        working=tmp_path / "kaggle" / "working",
        temporary=tmp_path / "tmp",
        log=tmp_path / "log.txt",
    )
    outcome = BACKENDS["process"].run(job, Limits(wall_time_s=20), lambda data: None)
    assert outcome.exit_code == 0
    assert job.log.read_text().split() == ["held"] * 6


def test_user_namespaces_are_refused(run_source):
    """In one of its own a program could mount memory that no limit counts."""
    source = "import ctypes; l = ctypes.CDLL(None, use_errno=True); print(l.unshare(0x10000000), ctypes.get_errno())"
    _, said = run_source(source)
    assert said == b"-1 1\n"


def test_supervisor_kills_the_job_when_the_harness_is_killed(tmp_path, processes_marked):
    """kill -9 of the harness: the supervisor sees its pipe end, and ends the submission."""
    source = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from dfdc_kit.profiles import Limits\n"
        "from dfdc_kit.sandbox import BACKENDS\n"
        "from dfdc_kit.sandbox.base import Job\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "command = [sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)']\n"
        "places = {'stage': folder, 'working': folder, 'temporary': folder, 'log': folder / 'log.txt'}\n"
        "job = Job(command=command, environment={'MARK': str(folder)}, **places)\n"
        "BACKENDS['process'].run(job, Limits(), lambda _: print('up', flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as harness:
        assert harness.stdout is not None
        assert harness.stdout.readline() == b"up\n"
        assert processes_marked(tmp_path)
        harness.kill()
    for _ in range(100):
        if not processes_marked(tmp_path):
            break
        time.sleep(0.05)
    assert processes_marked(tmp_path) == []


def test_cpu_core_limit_holds_when_the_program_asks_for_all_cores(run_source):
    source = "import os; os.sched_setaffinity(0, range(os.cpu_count())); print(len(os.sched_getaffinity(0)))"
    _, printed = run_source(source, cpu_cores=1)
    assert printed.strip() == b"1"


def test_real_time_priority_of_the_harness_is_not_inherited(run_source):
    """As root, a library can give it to us unasked: an encoder in the same process, say."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        pytest.skip("this user cannot have real-time priority")
    try:
        _, printed = run_source("import os; print(os.sched_getscheduler(0))")
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    assert int(printed) == os.SCHED_OTHER


def test_no_file_descriptor_of_the_harness_is_inherited(run_source):
    _, printed = run_source("import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))")
    assert printed.strip() == b"[0, 1, 2, 3]"  # 3 is the listing itself


def test_localhost_and_the_user_name_resolve(run_source):
    source = "import getpass, socket; print(socket.gethostbyname('localhost'), bool(getpass.getuser()))"
    _, said = run_source(source)
    assert said == b"127.0.0.1 True\n"


def test_prune_removes_folders_nested_too_deeply(tmp_path):
    here = Path.cwd()
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "file").write_text("x")
    try:
        os.chdir(tmp_path)
        for _ in range(1200):
            Path("deep").mkdir()
            os.chdir("deep")
        Path("file").write_text("x")
    finally:
        os.chdir(here)
    prune(tmp_path)
    assert max(len(path.relative_to(tmp_path).parts) for path in tmp_path.rglob("*")) <= 64
    assert (tmp_path / "keep" / "file").read_text() == "x"
    assert not list(tmp_path.rglob(".dfdc-removed-*"))
