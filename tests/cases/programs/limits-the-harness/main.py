"""Ends processes outside without a signal of its own: by their limits, and as owners of a file's signals."""

import fcntl
import os
import resource
import signal
from pathlib import Path

from common import PLACES, attempt, write

SET_SIGNAL = 10  # of fcntl: which one a file sends


def send(pid: int) -> None:
    """Let the kernel send the signal that ends a process, when there is something to read."""
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, pid)
    fcntl.fcntl(reader, SET_SIGNAL, signal.SIGKILL)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writer, b"x")


def there(pid: int) -> None:
    """Raises OSError where that number is nobody's, or one of ours."""
    if pid <= 1 or not os.path.exists(f"/proc/{pid}"):  # noqa: PTH110
        raise OSError("not there")


for who, pid in (("the harness", PLACES["harness_pid"]), ("the supervisor", os.getppid())):
    attempt(f"limits of {who}", lambda pid=pid: (there(pid), resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1))))
    attempt(f"priority of {who}", lambda pid=pid: (there(pid), os.setpriority(os.PRIO_PROCESS, pid, 19)))
    attempt(f"a signal by the kernel to {who}", lambda pid=pid: (there(pid), send(pid)))
for task in Path(f"/proc/{PLACES['harness_pid']}/task").glob("*"):  # none where it is not there
    thread = int(task.name)
    attempt("limits of a thread", lambda thread=thread: resource.prlimit(thread, resource.RLIMIT_CPU, (1, 1)))
write()
