"""How a child of the supervisor confines itself before it executes the submission.

Standard library only: the supervisor loads it. Each function raises OSError where the kernel refuses; then nothing is
started, so that a run never has less confinement than its report says.
"""

import ctypes
import os
import struct

import landlock  # type: ignore[import-not-found]  # siblings: this folder is on the supervisor's sys.path
import syscall_filter  # type: ignore[import-not-found]

TYPE_CHECKING = False  # importing typing takes a fifth of the start-up
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NEW_NAMESPACES = 0x00020000 | 0x08000000 | 0x40000000  # mounts, IPC, network
NEW_USERS = 0x10000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000  # the same number on every architecture
DEVICE_LINKS = (  # in /dev
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    *((name, f"/proc/self/fd/{number}") for number, name in enumerate(("stdin", "stdout", "stderr"))),
)
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
KEYCTL = {"x86_64": 250, "aarch64": 219}
JOIN_SESSION_KEYRING = 1
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 0x1


def confine(confinement: "dict[str, Any]") -> None:
    """Apply `confinement`, as defined by supervise.Confinement, to this process. Raises OSError."""
    _no_new_privileges()
    new_keyring()
    if confinement.get("cores"):
        os.sched_setaffinity(0, confinement["cores"])
    network = confinement.get("network", "")
    if "view" in confinement:
        namespaces(own_network=network == "namespace")
        enter_view(confinement["root"], confinement["view"], confinement["devices"], confinement["shm_bytes"])
        os.chdir(confinement["working"])
    if "view" in confinement or "read" in confinement:
        drop_capabilities()
    if "read" in confinement:
        close_tcp = network == "filter" and landlock.version() >= 4
        landlock.restrict(confinement["list_only"], confinement["read"], confinement["write"], close_tcp=close_tcp)
    if confinement.get("filter"):
        supervisor = os.getppid()
        protected = confinement.get("protected_pids")
        content = syscall_filter.program(
            os.uname().machine,
            keep_cores=bool(confinement.get("cores")),
            close_network=network == "filter",
            close_users=bool(protected),
            protected_pids=[*protected, supervisor, -supervisor] if protected else [],
        )
        syscall_filter.install(content)


def namespaces(*, own_network: bool) -> None:
    """Enter namespaces for mounts, IPC and, if wanted, network, where loopback is then up."""
    flags = NEW_NAMESPACES if own_network else NEW_NAMESPACES & ~0x40000000
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags | NEW_USERS) == 0:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    else:  # root needs no user namespace, where they are forbidden
        _checked(libc.unshare(flags), "unshare")
    if own_network:
        _loopback_up()


def enter_view(root: str, view: "list[tuple[str, str, str]]", devices: list[str], shm_bytes: int) -> None:
    """Make the mounts of `view` (see visible_paths.mounts) below the empty folder `root`, and make that the root.

    /proc is the machine's, read-only; /dev has `devices`, pseudo-terminals of its own, and a /dev/shm of that size.
    """
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    sealed = [f"{root}/dev", root]
    for kind, source, target in (*view, ("ro", "/proc", "/proc"), ("cover", "", "/dev")):
        place = root + target
        if kind == "link":
            os.symlink(source, place)  # noqa: PTH211
        elif kind == "cover":
            os.makedirs(place, exist_ok=True)  # noqa: PTH103
            _mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
            sealed.insert(0, place)
        elif kind != "try" or os.path.exists(source):  # noqa: PTH110
            _bind(source, place)
            if kind != "bind":
                _set_read_only(place, recursive=True, read_only=True)
    for name in devices:
        if os.path.exists(f"/dev/{name}"):  # noqa: PTH110
            _bind(f"/dev/{name}", f"{root}/dev/{name}")
    for name, target in DEVICE_LINKS:
        os.symlink(target, f"{root}/dev/{name}")  # noqa: PTH211
    for name, kind, options in (
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=620"),
        ("shm", "tmpfs", f"size={shm_bytes},mode=1777"),
    ):
        os.mkdir(f"{root}/dev/{name}")  # noqa: PTH102
        _mount(kind, f"{root}/dev/{name}", kind, MS_NOSUID, options)
    for place in sealed:  # else a job could fill memory unseen
        _set_read_only(place, recursive=False, read_only=True)
    os.chroot(root)
    os.chdir("/")


def _bind(source: str, place: str) -> None:
    """Bind a folder or file to `place`, which is created if it is missing."""
    if os.path.isdir(source):  # noqa: PTH112
        os.makedirs(place, exist_ok=True)  # noqa: PTH103
    elif not os.path.exists(place):  # noqa: PTH110
        os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    _mount(source, place, None, MS_BIND | MS_REC)


def drop_capabilities() -> None:
    """Drop all capabilities; executing a program gives none back, not even to root."""
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(64):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)  # fails for those that do not exist or that we lack: as intended
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _checked(libc.capset(header, none), "capset")


def new_keyring() -> None:
    """Join a new session keyring, without the keys of the caller's session; skipped on unknown architectures."""
    if number := KEYCTL.get(os.uname().machine):
        ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), ctypes.c_long(JOIN_SESSION_KEYRING), None)


def _no_new_privileges() -> None:
    _checked(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def _loopback_up() -> None:
    import _socket  # the module socket itself takes 5 ms to load
    import fcntl

    handle = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    asked = fcntl.ioctl(handle.fileno(), GET_FLAGS, struct.pack("16sH22x", b"lo", 0))
    flags = struct.unpack("16sH22x", asked)[1] | UP
    fcntl.ioctl(handle.fileno(), SET_FLAGS, struct.pack("16sH22x", b"lo", flags))
    handle.close()


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    names = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.mount(names[0], names[1], names[2], ctypes.c_ulong(flags), names[3]), f"mount {target}")


def _set_read_only(path: str, *, recursive: bool, read_only: bool) -> None:
    attributes = struct.pack("QQQQ", MS_RDONLY if read_only else 0, 0 if read_only else MS_RDONLY, 0, 0)
    flags = ctypes.c_long(AT_RECURSIVE if recursive else 0)
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (ctypes.c_long(MOUNT_SETATTR), ctypes.c_long(AT_FDCWD), os.fsencode(path), flags, attributes)
    _checked(libc.syscall(*arguments, ctypes.c_long(len(attributes))), f"mount_setattr {path}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)


def _checked(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _trial(mechanism: "Callable[[], object]") -> str:
    """Why `mechanism` does not work, found by trying it in a child; empty if it works."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _no_new_privileges()
            mechanism()
            os._exit(0)
        except (OSError, AttributeError) as error:
            os.write(write, str(error).encode())
        os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        error_text = file.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return "" if status == 0 else error_text or f"the trial ended with status {status}"


def _try_view(root: str) -> None:
    namespaces(own_network=True)
    enter_view(root, [("ro", "/usr", "/usr")], ["null"], 1 << 20)


def trial(name: str, folder: str) -> str:
    """Why the mechanism `name` does not work here, found by trying; empty if it works. `folder` is writable."""
    return _trial(
        {
            "namespaces": lambda: _try_view(folder),
            "signals": landlock.check_signal_scope,
            "landlock": lambda: landlock.restrict([], ["/usr"], [folder], close_tcp=False),
            "filter": lambda: syscall_filter.install(
                syscall_filter.program(
                    os.uname().machine, keep_cores=True, close_network=True, close_users=True, protected_pids=[1, -1]
                )
            ),
        }[name]
    )
