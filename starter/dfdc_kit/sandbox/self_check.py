"""What a backend claims, put to the test: small programs try to pass each limit, once, and what they reach counts.

A claim that the trial contradicts becomes NOT ENFORCED HERE, with what got through.
"""

import fcntl
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
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import NOT_ENFORCED, Ending, Enforcement, Job, Outcome, SandboxBackend
from dfdc_kit.sandbox.monitor.log import TAIL_BYTES

TRIAL_S = 10.0
LOG = "log.txt"
SECRET = b"the trial's secret"
TRIES = """
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
def sees_harness():  # not another process that has its number in a namespace
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
WAITS = "import time; time.sleep(20)"
EXCESSES = {  # limit -> a program that passes it and then waits, the limit, and how it is ended for it
    "wall_time": (WAITS, Limits(wall_time_s=0.3), Ending.WALL_TIME),
    "memory": (
        f"import time; time.sleep(0.5); kept = bytearray(64 << 20); {WAITS}",
        Limits(memory_bytes=32 << 20),
        Ending.MEMORY,
    ),
    "processes": (
        "import threading, time\n"
        "for _ in range(32): threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n"
        f"{WAITS}",
        Limits(processes=8),
        Ending.PROCESSES,
    ),
    "output": (
        f"for i in '12': open(i, 'wb').write(bytes(3 << 18))\n{WAITS}",
        Limits(output_bytes=1 << 20),
        Ending.OUTPUT,
    ),
    "scratch": (
        f"import os\nfor i in '12': open(os.environ['TMPDIR'] + '/' + i, 'wb').write(bytes(3 << 18))\n{WAITS}",
        Limits(scratch_bytes=1 << 20),
        Ending.SCRATCH,
    ),
}
FLOODS = "print('x' * (1 << 20))"
LOG_BYTES = 1 << 10
STAYS = """
import fcntl, os, time
held = open("held", "w")
fcntl.flock(held, fcntl.LOCK_EX)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(20)
"""
WHAT = {
    "network": "a server of this machine was reached",
    "hidden_files": "a file outside, or another process's environment, was read",
    "read_only_input": "an input file was opened for writing",
    "cpu_cores": "the program gave itself more cores",
    "descendants": "a daemon was still there after its run, or the program could end its supervisor",
    "log": "the log grew over its limit",
    **dict.fromkeys(EXCESSES, "a program over the limit was not seen and ended"),
}


def proven(backend: SandboxBackend, claims: Iterable[Enforcement]) -> Iterator[Enforcement]:
    """The claims as they stand after the trial of `backend` (run once, then known)."""
    got_through = tried(backend)
    for claim in claims:
        if claim.status != NOT_ENFORCED and claim.limit in got_through:
            yield structs.replace(claim, status=NOT_ENFORCED, how=f"tried, and {got_through[claim.limit]}")
        else:
            yield claim


@cache
def tried(backend: SandboxBackend) -> dict[str, str]:
    """Limit -> what a trial could do in spite of it. A trial that cannot be run has proven nothing: all are named."""
    try:
        with tempfile.TemporaryDirectory(prefix="dfdc-trial-") as folder, ThreadPoolExecutor() as pool:
            place = Path(folder).resolve()
            trials = [pool.submit(_exceeds, backend, place, limit) for limit in EXCESSES]
            trials += [pool.submit(trial, backend, place) for trial in (_tries, _floods, _stays)]
            through = set().union(*(trial.result() for trial in trials))
    except (KitError, OSError) as error:
        return dict.fromkeys(WHAT, f"the trial failed: {error}")
    return {name: WHAT[name] for name in WHAT if name in through}


def _exceeds(backend: SandboxBackend, place: Path, limit: str) -> set[str]:
    """The name of the limit if a program could pass it: it was neither ended for that, nor ended by the refusal."""
    program, limits, ending = EXCESSES[limit]
    outcome = _run(backend, place / limit, [program], limits)
    refused = outcome.ending is Ending.EXIT and outcome.exit_code != 0
    return set() if outcome.ending is ending or refused else {limit}


def _floods(backend: SandboxBackend, place: Path) -> set[str]:
    _run(backend, place / "log", [FLOODS], Limits(log_bytes=LOG_BYTES))
    return {"log"} if (place / "log" / LOG).stat().st_size > LOG_BYTES + 2 * TAIL_BYTES else set()


def _stays(backend: SandboxBackend, place: Path) -> set[str]:
    """Whether a daemon outlived its run: it would still hold a lock."""
    _run(backend, place / "descendants", [STAYS], Limits())
    with (place / "descendants" / "kaggle" / "working" / "held").open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return {"descendants"}
    return set()


def _tries(backend: SandboxBackend, place: Path) -> set[str]:
    """The names of the limits that TRIES passed."""
    secret, printed = place / "secret", bytearray()
    secret.write_bytes(SECRET)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        port = server.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        given = place / "tries" / "kaggle" / "input" / "given"
        command: list[str | Path] = [TRIES, str(port), str(secret), given, str(os.cpu_count() or 1), *_ourselves()]
        outcome = _run(backend, place / "tries", command, Limits(cpu_cores=1), printed)
        reached = {"network"} if _arrived(server, datagrams) else set()
    if outcome.exit_code != 0:
        raise OSError(f"the trial ended with {outcome.ending.value}: {printed.decode(errors='replace')[-200:].strip()}")
    return reached | set(printed.decode(errors="replace").split()) & WHAT.keys()


def _ourselves() -> tuple[str, str]:
    """The number of this process, and when it was started, in the kernel's ticks."""
    pid = os.getpid()
    return str(pid), Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]


def _arrived(server: socket.socket, datagrams: socket.socket) -> bool:
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
        environment={"PATH": os.defpath, "TMPDIR": stage / "tmp"},
        stage=stage,
        working=stage / "kaggle" / "working",
        temporary=stage / "tmp",
        log=stage / LOG,
    )
    kept = bytearray() if printed is None else printed
    return backend.run(job, structs.replace(limits, wall_time_s=limits.wall_time_s or TRIAL_S), kept.extend)
