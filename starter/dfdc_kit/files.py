"""Paths of bundled data, in a checkout or a wheel; files written completely or not at all; locks; digests."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from dfdc_kit.errors import DataMissingError, KitError, OutputError, UsageError
from dfdc_kit.formatting import format_bytes

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1]
ROOT = CHECKOUT if (CHECKOUT / "pyproject.toml").is_file() else PACKAGE  # all that belongs to this kit


def bundled(name: str) -> Path:
    """Path of `evaluate.py`, `baselines` or `sample_data`: the checkout's own if there is one, else the wheel's."""
    path = (ROOT if ROOT == CHECKOUT else PACKAGE / "bundled") / name
    if not path.exists():
        raise DataMissingError(
            f"{path} is missing: the installation is incomplete.",
            hint="Install it again.",
            command="pip install --force-reinstall dfdc-starter-kit",
        )
    return path


@contextmanager
def translate_read_errors() -> Iterator[None]:
    """Raise DataMissingError, with path and reason, for whatever this machine does not let us read."""
    try:
        yield
    except KitError:
        raise
    except OSError as error:
        raise unreadable(error) from error


def unreadable(error: OSError) -> DataMissingError:
    """What to raise for a path that this machine does not let us read."""
    return DataMissingError(
        f"Cannot read {error.filename}: {error.strerror}.", hint="Check the permissions of it and of its folders."
    )


def shown_name(name: str | Path) -> str:
    """A file name as text; bytes that are not UTF-8 become escapes."""
    return os.fspath(name).encode("utf-8", "backslashreplace").decode()


def check_readable(path: Path) -> None:
    """Raise PermissionError for a file, or a folder, that cannot be read."""
    is_folder = path.is_dir()
    if not os.access(path, os.R_OK | os.X_OK if is_folder else os.R_OK) and path.exists():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@contextmanager
def writing_to(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to `path` when the block ends well and removed when it does not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror}.", hint="Choose a folder that can be written."
        ) from error
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror}.", hint="Free some space or choose another folder."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` completely or not at all."""
    with writing_to(path) as part:
        part.write_bytes(content)


NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # NFS without lockd, some FUSE and Lustre mounts


_warned: set[Path] = set()


def warn_no_locks(folder: Path, warn: Callable[[str], None]) -> None:
    """Warn, once for each folder, that a second command on it is not noticed."""
    if folder.resolve() not in _warned:
        _warned.add(folder.resolve())
        warn(f"{folder} is on a file system without locks; do not run a second command on it at the same time.")


def has_locks(folder: Path) -> bool:
    """Whether files in `folder` can be locked; true as well where that cannot be tried."""
    import fcntl

    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in NO_LOCKS
    return True


@contextmanager
def hold_lock(path: Path, busy: str, option: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file `path`; the system releases it however the process ends.

    On a file system without locks the block runs unlocked, after a call of `warn`. Raises UsageError with the message
    `busy` if another process holds the lock, and OutputError, naming the `option` that chooses another folder.
    """
    import filelock

    lock = filelock.FileLock(path, timeout=0, fallback_to_soft=False)  # a soft lock would outlive a killed process
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise UsageError(f"{busy}.", hint="Wait for it to end, or stop it with Ctrl-C.") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            message = f"Cannot write {path}: {error.strerror}."
            raise OutputError(message, hint=f"Choose a writable folder: {option} DIR") from error
        warn_no_locks(path.parent, warn)
    try:
        yield
    finally:
        lock.release()


def file_sha256(path: Path) -> str:
    """The SHA-256 digest of a file's bytes, in hexadecimal; empty if there is no such file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def to_json(record: object) -> bytes:
    """`record` (msgspec records, dicts, lists, numbers, paths) as one indented JSON document with a line end."""
    return msgspec.json.format(msgspec.json.encode(record, enc_hook=_path_as_text), indent=2) + b"\n"


def write_json(path: Path, record: object) -> None:
    """Write `record` to `path`, completely or not at all. Raises OutputError."""
    write_bytes(path, to_json(record))


def _path_as_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no place in JSON")


OURS = ".dfdc"  # the kit's own folder in a data folder


def why_unsafe(name: str) -> str:
    """Why the relative name `name` must not be written below a folder; empty if it is safe."""
    path = PurePosixPath(name)
    faults = {
        "a name without letters": not name.strip("./ "),
        "an absolute name": name.startswith("/") or re.match(r"[A-Za-z]:", name) is not None,
        "a name that leaves the folder": ".." in path.parts,
        "a name with a backslash": "\\" in name,
        "a name with control characters": not name.isprintable(),
        "a name that is not normalized": name.removesuffix("/") != str(path),
        "a name reserved for this kit": path.parts[:1] == (OURS,),
    }
    return next((fault for fault, is_so in faults.items() if is_so), "")


LOCK = Path(OURS) / "lock"
SPARE_BYTES = 64 << 20  # kept free for other programs


def lock_folder(folder: Path, warn: Callable[[str], None]) -> AbstractContextManager[None]:
    """Lock the data folder `folder`, made if missing. Raises UsageError if another process holds it, OutputError."""
    return hold_lock(folder / LOCK, f"Another download into {folder} is running", "--to", warn)


def free_bytes(folder: Path) -> int:
    """The free space where `folder` is or would be made, in bytes."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def check_free_space(folder: Path, needed_bytes: int, option: str = "--to") -> None:
    """Raise OutputError if the disk of `folder`, named by `option`, has less than `needed_bytes` free."""
    free = free_bytes(folder)
    if needed_bytes + SPARE_BYTES > free:
        message = (
            f"{folder} needs {format_bytes(needed_bytes)} more, and {format_bytes(SPARE_BYTES)} to spare; "
            f"{format_bytes(free)} are free."
        )
        raise OutputError(message, hint=f"Free some space, or choose a folder on another disk: {option} DIR")


def cache_folder() -> Path:
    """Where measurements are kept: $XDG_CACHE_HOME/dfdc, or ~/.cache/dfdc."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dfdc"
