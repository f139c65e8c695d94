"""What a backend claims, put to the test: a small program tries to pass each limit, once, and what it reaches counts.

A claim that the trial contradicts becomes NOT ENFORCED HERE, with what got through.
"""

import os
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from msgspec import structs

from dfdc_kit.errors import KitError
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import NOT_ENFORCED, Ending, Enforcement, Job, Outcome, SandboxBackend

TRIAL_S = 20.0
SECRET = b"the trial's secret"
TRIES = """
import os, _socket, sys
port, secret, given, cores = sys.argv[1:]
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
for kind in (_socket.SOCK_STREAM, _socket.SOCK_DGRAM):
    try: send(kind)
    except OSError: pass
attempt("hidden_files", lambda: open(secret).close())
attempt("hidden_files", lambda: open("/proc/%s/environ" % os.environ["HARNESS"]).close())
attempt("read_only_input", write)
if int(cores) > 1: attempt("cpu_cores", widen)
"""
EATS = "kept = bytearray(64 << 20); import time; time.sleep(20)"
WHAT = {
    "network": "a server of this machine was reached",
    "hidden_files": "a file outside, or another process's environment, was read",
    "read_only_input": "an input file was opened for writing",
    "cpu_cores": "the program gave itself more cores",
    "memory": "a program over the limit was not seen and ended",
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
        with tempfile.TemporaryDirectory(prefix="dfdc-trial-") as folder:
            place = Path(folder).resolve()
            through = _tries(backend, place)
            memory = _run(backend, place / "memory", [EATS], Limits(memory_bytes=32 << 20))
    except (KitError, OSError) as error:
        return dict.fromkeys(WHAT, f"the trial failed: {error}")
    if memory.ending is not Ending.MEMORY:
        through.add("memory")
    return {name: WHAT[name] for name in through}


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
        command: list[str | Path] = [TRIES, str(port), str(secret), given, str(os.cpu_count() or 1)]
        outcome = _run(backend, place / "tries", command, Limits(cpu_cores=1), printed)
        reached = {"network"} if _arrived(server, datagrams) else set()
    if outcome.exit_code != 0:
        raise OSError(f"the trial ended with {outcome.ending.value}: {printed.decode(errors='replace')[-200:].strip()}")
    return reached | set(printed.decode(errors="replace").split()) & WHAT.keys()


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
        environment={"PATH": os.defpath, "HARNESS": str(os.getpid())},
        stage=stage,
        working=stage / "kaggle" / "working",
        temporary=stage / "tmp",
        log=stage / "log.txt",
    )
    kept = bytearray() if printed is None else printed
    return backend.run(job, structs.replace(limits, wall_time_s=TRIAL_S), kept.extend)
