r"""Runs one command and outlives all its descendants: every backend starts it as a separate program.

    python -I -S -c "<this folder on the path>; import supervisor; supervisor.run()" \
        CONTROL_FD RESULT_FD CONFINEMENT COMMAND [ARG ...]
        trial MECHANISM FOLDER

It becomes the reaper of every orphan below it, so that a daemon in its own session is found, too. When the command
ends, when its time is over, or when CONTROL_FD is closed (the harness wants it stopped, or has died), it kills every
process below it and writes one line to RESULT_FD: the repr of a dict. CONFINEMENT is a supervise.Confinement,
marshalled, in hexadecimal. The second form tries what this kernel can do.

Standard library only, and only modules that load fast: no json (9 ms); `_signal`, because `signal` builds enumerations
(4 ms). It is imported, not run as a script, so that its bytecode is cached.
"""

import _signal as signal  # type: ignore[import-not-found]
import ctypes
import marshal
import os
import resource
import select
import sys
import time

import confine  # type: ignore[import-not-found]  # a sibling

TYPE_CHECKING = False  # importing typing takes a fifth of the start-up
if TYPE_CHECKING:
    from typing import Any

PR_SET_CHILD_SUBREAPER = 36
PRIORITY_LIMITS = resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO  # a job of higher priority could block us
REAL_TIME = os.SCHED_FIFO, os.SCHED_RR
KILL_TIMEOUT_S = 20.0  # for processes that the kernel cannot end at once


def main(control_fd: int, result_fd: int, confinement: "dict[str, Any]", command: list[str]) -> None:
    """Run `command` until it ends or must be stopped, kill everything that is left, and report."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.set_inheritable(control_fd, False)
    os.set_inheritable(result_fd, False)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    started, killed_before = time.monotonic(), _killed_for_memory()
    main_pid = _start(command, confinement, result_fd)
    status: int | None = None
    stop_requested = out_of_time = False
    limit_s = confinement.get("wall_time_s")
    while status is None and not stop_requested and not out_of_time:
        left_s = None if limit_s is None else max(0.0, started + limit_s - time.monotonic())
        ready, _, _ = select.select([control_fd, wake_read], [], [], left_s)
        out_of_time = not ready
        if wake_read in ready:
            os.read(wake_read, 4096)
            status, _ = _reap(main_pid)
        stop_requested = control_fd in ready
    stopped_unix_s = time.time() if out_of_time else None
    wall_time_s = time.monotonic() - started
    left_running, killed_status = _end_all(main_pid, reaped=status is not None)
    if status is None and confinement.get("on_stop"):
        _run(confinement["on_stop"])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "status": status if status is not None else killed_status,
        "ended_by_itself": status is not None,
        "out_of_time_unix_s": stopped_unix_s,
        "left_running": left_running if status is not None else 0,
        "wall_time_s": wall_time_s,
        "cpu_time_s": used.ru_utime + used.ru_stime,
        "largest_process_bytes": used.ru_maxrss * 1024,
        "killed_for_memory": _killed_for_memory() - killed_before,
    }
    os.write(result_fd, repr(result).encode() + b"\n")


def _killed_for_memory() -> int:
    """Processes of the run's own scope (control groups, version 2) that the kernel ended for memory; 0 without one."""
    try:
        with open("/proc/self/cgroup") as file:  # noqa: PTH123
            path = next(line[3:].strip() for line in file if line.startswith("0::") and line.strip().endswith(".scope"))
        with open(f"/sys/fs/cgroup{path}/memory.events") as file:  # noqa: PTH123
            return int(dict(line.split() for line in file)["oom_kill"])
    except (OSError, StopIteration, KeyError, ValueError):
        return 0


def _start(command: list[str], confinement: "dict[str, Any]", result_fd: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):  # Python changed them
            signal.signal(number, signal.SIG_DFL)
        if os.sched_getscheduler(0) in REAL_TIME:  # ours is, and the child inherits it
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        for limit in (resource.RLIMIT_CORE, *PRIORITY_LIMITS):
            resource.setrlimit(limit, (0, 0))
        if file_bytes := confinement.get("file_bytes"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        if not confinement.get("bare"):
            confine.confine(confinement)
        os.execvp(command[0], command)  # noqa: S606
    except Exception as error:  # noqa: BLE001  # whatever it is: our code must not continue in the child
        os.write(result_fd, repr({"cannot_start": f"{command[0]}: {error}"}).encode() + b"\n")
    os._exit(127)


def _run(command: list[str]) -> None:
    """Run a command of the harness to its end, for at most KILL_TIMEOUT_S."""
    pid = os.posix_spawnp(command[0], command, os.environ)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            _signal([pid], signal.SIGKILL)
        time.sleep(0.01)


def _reap(main_pid: int) -> "tuple[int | None, bool]":
    """Collect every child that has ended; the main process's status if it is among them, and whether none is left.

    If no child is left, no descendant is: orphans become children of this process, the subreaper.
    """
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found, True
        if pid == 0:
            return found, False
        if pid == main_pid:
            found = status


def _end_all(main_pid: int, *, reaped: bool) -> tuple[int, int | None]:
    """Freeze, then kill, all descendants until none is left; how many there were, and the main process's status."""
    seen: set[int] = set()
    deadline = time.monotonic() + KILL_TIMEOUT_S
    if not reaped:
        _signal([main_pid], signal.SIGKILL)  # if it is the first process of a PID namespace, all others die with it
    killed_status, none_left = _reap(main_pid)
    # until waitpid says so: a scan of /proc misses a process that is created, and orphaned, during the scan
    while not none_left and time.monotonic() < deadline:
        below = _descendants()
        # freeze first: a frozen process cannot fork
        while (new := [pid for pid in below if pid not in seen]) and time.monotonic() < deadline:
            _signal(new, signal.SIGSTOP)
            seen.update(new)
            below = _descendants()
        _signal(below, signal.SIGKILL)
        time.sleep(0.001)
        status, none_left = _reap(main_pid)
        killed_status = killed_status if status is None else status
    return len(seen), killed_status


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _descendants() -> list[int]:
    """All descendants of this process that are alive (no zombies), from /proc."""
    children: dict[int, list[int]] = {}
    living = set()
    for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib takes a third of the start-up
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                    stat = file.read()
            except OSError:  # it has ended
                continue
            state, parent = stat[stat.rindex(b")") + 2 :].split(maxsplit=2)[:2]
            children.setdefault(int(parent), []).append(int(name))
            if state not in b"ZX":
                living.add(int(name))
    below, found = [os.getpid()], []
    while below:
        below = [child for pid in below for child in children.get(pid, ())]
        found += [pid for pid in below if pid in living]
    return found


def run() -> None:
    """Act on the command line."""
    if sys.argv[1] == "trial":
        sys.stdout.write(confine.trial(sys.argv[2], sys.argv[3]))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), marshal.loads(bytes.fromhex(sys.argv[3])), sys.argv[4:])  # noqa: S302
