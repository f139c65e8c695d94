"""Kills the process above it: the supervisor, or the first process of its namespace."""

import contextlib
import os
import signal

from common import write

with contextlib.suppress(OSError):
    os.kill(os.getppid(), signal.SIGKILL)
write()
