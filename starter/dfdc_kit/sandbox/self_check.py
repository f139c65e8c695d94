"""Checks what a backend claims: small programs try to exceed each limit, and what they manage counts.

A claim that the check contradicts becomes NOT ENFORCED HERE, with what the program could do.
"""

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from msgspec import structs

from dfdc_kit.errors import KitError
from dfdc_kit.files import free_bytes
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import check_cache
from dfdc_kit.sandbox.base import NOT_ENFORCED, Ending, Enforcement, Job, Outcome, SandboxBackend
from dfdc_kit.sandbox.monitor.log import TAIL_BYTES

TRIAL_S = 10.0
NEEDED_BYTES = 16 << 20  # of temporary files, for all trials
COULD_NOT_RUN = "the check could not run"
LOG = "log.txt"
SECRET = b"secret"
ATTEMPTS = """
import os, _socket, sys
port, secret, given, cores, harness, started = sys.argv[1:]
def attempt(name, action):
    try:
        action()
    except OSError:
        return
    print(name, flush=True)
def send(kind):
    _socket.socket(_socket.AF_INET, kind).connect(("127.0.0.1", int(port)))
    if kind == _socket.SOCK_DGRAM: _socket.socket(_socket.AF_INET, kind).sendto(b"x", ("127.0.0.1", int(port)))
def write():
    try: os.chmod(given, 0o644)
    finally: open(given, "r+b").close()
def widen():
    os.sched_setaffinity(0, range(int(cores)))
    if len(os.sched_getaffinity(0)) < int(cores): raise OSError
def sees_harness():  # not another process with the same number in another PID namespace
    try: return open("/proc/%s/stat" % harness).read().rsplit(")", 1)[1].split()[19] == started
    except OSError: return False
for kind in (_socket.SOCK_STREAM, _socket.SOCK_DGRAM):
    try: send(kind)
    except OSError: pass
attempt("hidden_files", lambda: open(secret).close())
attempt("read_only_input", write)
if sees_harness():
    attempt("hidden_files", lambda: open("/proc/%s/environ" % harness).close())
    for pid in (int(harness), os.getppid()): attempt("descendants", lambda: os.kill(pid, 0))
if int(cores) > 1: attempt("cpu_cores", widen)
"""
WAIT = "import time; time.sleep(20)"
EXCESSES = {  # limit -> a program that exceeds it and then waits, the limit, and the ending that it must have
    "wall_time": (WAIT, Limits(wall_time_s=0.3), Ending.WALL_TIME),
    "memory": (
        f"import time; time.sleep(0.5); kept = bytearray(64 << 20); {WAIT}",
        Limits(memory_bytes=32 << 20),
        Ending.MEMORY,
    ),
    "processes": (
        "import threading, time\n"
        "for _ in range(32): threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n"
        f"{WAIT}",
        Limits(processes=8),
        Ending.PROCESSES,
    ),
    "output": (
        f"for i in '12': open(i, 'wb').write(bytes(3 << 18))\n{WAIT}",
        Limits(output_bytes=1 << 20),
        Ending.OUTPUT,
    ),
    "scratch": (
        f"import os\nfor i in '12': open(os.environ['TMPDIR'] + '/' + i, 'wb').write(bytes(3 << 18))\n{WAIT}",
        Limits(scratch_bytes=1 << 20),
        Ending.SCRATCH,
    ),
}
FLOOD = "print('x' * (1 << 20))"
LOG_BYTES = 1 << 10
DAEMON = """
import os, time
os.mkfifo("held")
held = os.open("held", os.O_RDWR)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(20)
"""
FAILURES = {
    "network": "a server on this machine could be reached",
    "hidden_files": "a file outside or another process's environment could be read",
    "read_only_input": "an input file could be opened for writing",
    "cpu_cores": "the program could give itself more cores",
    "descendants": "a daemon survived its run, or the program could signal its supervisor",
    "log": "the log grew beyond its limit",
    **dict.fromkeys(EXCESSES, "a program over the limit was not stopped"),
}


def checked(backend: SandboxBackend, claims: Iterable[Enforcement]) -> Iterator[Enforcement]:
    """The claims as the check of `backend` left them; the check runs once for each boot, backend and environment."""
    claims = list(claims)
    failed = _failed_limits(backend, [claim.limit for claim in claims if claim.status != NOT_ENFORCED])
    for claim in claims:
        if claim.status != NOT_ENFORCED and claim.limit in failed:
            yield structs.replace(claim, status=NOT_ENFORCED, how=f"tried: {failed[claim.limit]}")
        else:
            yield claim


def _failed_limits(backend: SandboxBackend, claimed: list[str]) -> dict[str, str]:
    """What `failed_limits` found, or what is remembered. A result that contradicts a claim is not remembered."""
    name, version = f"self-check {type(backend).__qualname__}", backend.version()
    failed = check_cache.recall(name, version)
    if failed is None:
        failed = failed_limits(backend)
        if not failed.keys() & claimed:
            check_cache.store(name, failed, version)
    return failed


@cache
def failed_limits(backend: SandboxBackend) -> dict[str, str]:
    """Limit -> what a program could do in spite of it. A check that cannot run confirms nothing: all are named."""
    try:
        with tempfile.TemporaryDirectory(prefix="dfdc-trial-") as folder, ThreadPoolExecutor() as pool:
            place = Path(folder).resolve()
            trials = [pool.submit(_exceeds, backend, place, limit) for limit in EXCESSES]
            trials += [pool.submit(trial, backend, place) for trial in (_attempts, _flood, _daemon)]
            failed = set().union(*(trial.result() for trial in trials))
    except (KitError, OSError) as error:
        return dict.fromkeys(FAILURES, f"{COULD_NOT_RUN}: {_reason(error)}")
    return {name: FAILURES[name] for name in FAILURES if name in failed}


def _reason(error: Exception) -> str:
    """The error, with the cause that the user can remove: no space for temporary files."""
    full = free_bytes(Path(tempfile.gettempdir())) < NEEDED_BYTES
    return f"no space in {tempfile.gettempdir()} (TMPDIR)" if full else str(error)


def _exceeds(backend: SandboxBackend, place: Path, limit: str) -> set[str]:
    """The name of the limit if a program could exceed it: it was not stopped for that, nor did it fail by itself."""
    program, limits, ending = EXCESSES[limit]
    outcome = _run(backend, place / limit, [program], limits)
    refused = outcome.ending is Ending.EXIT and outcome.exit_code != 0
    return set() if outcome.ending is ending or refused else {limit}


def _flood(backend: SandboxBackend, place: Path) -> set[str]:
    _run(backend, place / "log", [FLOOD], Limits(log_bytes=LOG_BYTES))
    return {"log"} if (place / "log" / LOG).stat().st_size > LOG_BYTES + 2 * TAIL_BYTES else set()


def _daemon(backend: SandboxBackend, place: Path) -> set[str]:
    """Whether a daemon survived its run: it would still read from a pipe. A lock would not work on every NFS."""
    _run(backend, place / "descendants", [DAEMON], Limits())
    try:
        os.close(os.open(place / "descendants" / "kaggle" / "working" / "held", os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:  # nobody reads
            raise
        return set()
    return {"descendants"}


def _attempts(backend: SandboxBackend, place: Path) -> set[str]:
    """The names of the limits that ATTEMPTS got around."""
    secret, printed = place / "secret", bytearray()
    secret.write_bytes(SECRET)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        port = server.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        given = place / "tries" / "kaggle" / "input" / "given"
        command: list[str | Path] = [
            ATTEMPTS,
            str(port),
            str(secret),
            given,
            str(os.cpu_count() or 1),
            *_this_process(),
        ]
        outcome = _run(backend, place / "tries", command, Limits(cpu_cores=1), printed)
        contacted = {"network"} if _was_contacted(server, datagrams) else set()
    if outcome.exit_code != 0:
        raise OSError(f"the trial ended with {outcome.ending.value}: {printed.decode(errors='replace')[-200:].strip()}")
    return contacted | set(printed.decode(errors="replace").split()) & FAILURES.keys()


def _this_process() -> tuple[str, str]:
    """The number of this process, and when it was started, in clock ticks after boot."""
    pid = os.getpid()
    return str(pid), Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]


def _was_contacted(server: socket.socket, datagrams: socket.socket) -> bool:
    """Whether a connection or a datagram has arrived."""
    for handle, receive in ((server, server.accept), (datagrams, lambda: datagrams.recv(1))):
        handle.setblocking(False)
        try:
            got = receive()
        except BlockingIOError:
            continue
        if isinstance(got, tuple):
            got[0].close()
        return True
    return False


def _run(
    backend: SandboxBackend,
    stage: Path,
    command: Sequence[str | Path],
    limits: Limits,
    printed: bytearray | None = None,
) -> Outcome:
    for name in ("kaggle/input", "kaggle/src", "kaggle/working", "tmp"):
        (stage / name).mkdir(parents=True)
    (stage / "kaggle" / "input" / "given").write_bytes(b"given")
    (stage / "kaggle" / "input" / "given").chmod(0o444)
    job = Job(
        command=[sys.executable, "-I", "-S", "-c", *command],
        environment={"PATH": os.defpath, "TMPDIR": stage / "tmp" / "tmp"},
        stage=stage,
        working=stage / "kaggle" / "working",
        temporary=stage / "tmp",
        log=stage / LOG,
    )
    output = bytearray() if printed is None else printed
    return backend.run(job, structs.replace(limits, wall_time_s=limits.wall_time_s or TRIAL_S), output.extend)
