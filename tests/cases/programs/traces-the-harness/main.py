"""Attaches to the harness as a debugger does, and reads its memory."""

import ctypes
import os

from common import PLACES, attempt, write

libc = ctypes.CDLL(None, use_errno=True)


def trace(pid: int) -> int:
    seized = libc.ptrace(0x4206, pid, None, None)  # PTRACE_SEIZE: does not stop it
    if seized < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return seized


attempt("trace", lambda: trace(PLACES["harness_pid"]))
if os.getppid() != 1:  # there, 1 is the first process of the program's own namespace
    attempt("trace the parent", lambda: trace(os.getppid()))
write()
