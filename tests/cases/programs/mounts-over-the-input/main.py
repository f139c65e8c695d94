"""Mounts, in its own namespace and in a new one; leaves the one it is in."""

import ctypes
import os

from common import INPUT, attempt, write

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


attempt("mount", lambda: checked(libc.mount(b"none", bytes(INPUT), b"tmpfs", 0, None)))
attempt("remount", lambda: checked(libc.mount(None, bytes(INPUT), None, 4096 | 32, None)))
attempt("unmount", lambda: checked(libc.umount2(bytes(INPUT), 2)))
attempt("chroot", lambda: os.chroot("/usr"))
attempt("join", lambda: checked(libc.setns(os.open("/proc/1/ns/net", os.O_RDONLY), 0)))
write()
