"""Makes a user namespace, in which it may mount, and there a file system in memory: it is in no process's size."""

import ctypes
import os
from pathlib import Path

from common import attempt, write

NEW_USERS_AND_MOUNTS = 0x10000000 | 0x00020000
libc = ctypes.CDLL(None, use_errno=True)


def mount() -> None:
    """Memory as a folder."""
    if libc.unshare(NEW_USERS_AND_MOUNTS) or libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    Path("/tmp/held").write_bytes(bytes(1 << 20))


attempt("memory of its own", mount)
write()
