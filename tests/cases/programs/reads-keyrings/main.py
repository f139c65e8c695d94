"""Reads the session keyring of the user who runs it."""

import ctypes
import os

from common import PLACES, attempt, write

libc = ctypes.CDLL(None, use_errno=True)
search = {"x86_64": 250, "aarch64": 219}[os.uname().machine]


def find() -> int:
    found = libc.syscall(search, 10, -3, b"user", PLACES["key"].encode(), 0)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


attempt("key", find)
write()
