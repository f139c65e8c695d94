"""Landlock: a process gives up access to files, for itself and all its descendants, without privileges.

Kernel interface: https://docs.kernel.org/userspace-api/landlock.html. Standard library only: the supervisor loads it.
It does not govern names and sizes (`stat` still works), modes and owners (`chmod`), UDP, and Unix sockets with a path.
"""

import ctypes
import errno
import os
import stat

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
VERSION_FLAG, PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
READ = EXECUTE | READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE  # rights that a rule on a single file may name
KNOWN = {
    1: (1 << 13) - 1,
    2: (1 << 14) - 1,
}  # rights by version; later: TRUNCATE; not ioctl of devices, which GPUs need
TCP_BIND_AND_CONNECT = 3  # from version 4
SIGNALS_AND_ABSTRACT_SOCKETS = 3  # from version 6: not to processes outside


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def version() -> int:
    """The kernel's Landlock version. Raises OSError where Landlock is missing or disabled."""
    return _call(CREATE_RULESET, None, 0, VERSION_FLAG)


def check_signal_scope() -> None:
    """Raise OSError where Landlock cannot block signals to processes outside."""
    if (found := version()) < 6:
        raise OSError(errno.ENOSYS, f"Landlock version {found}; version 6 is needed to block signals")


def restrict(list_only: list[str], read: list[str], write: list[str], *, close_tcp: bool) -> None:
    """Allow listing folders below `list_only`, reading and executing below `read`, and everything below `write`.

    Missing paths are skipped. From version 6 on, neither signals nor abstract Unix sockets reach processes outside.
    Needs `no_new_privs`. Raises OSError.
    """
    kernel = version()
    rights = KNOWN.get(kernel, (1 << 15) - 1)
    rules = _Ruleset(rights, TCP_BIND_AND_CONNECT if close_tcp else 0, SIGNALS_AND_ABSTRACT_SOCKETS)
    size = 8 if kernel < 4 else 16 if kernel < 6 else 24
    ruleset = _call(CREATE_RULESET, ctypes.byref(rules), size, 0)
    try:
        for allowed, paths in ((READ_DIR, list_only), (READ, read), (rights, write)):
            for path in paths:
                _allow(ruleset, path, allowed)
        _call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            allowed &= OF_FILES
        _call(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(_PathBeneath(allowed, place)), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result
