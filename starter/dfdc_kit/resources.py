"""Where bundled data lies, in a checkout or in a wheel; files written whole or not at all; locks; digests of files."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfdc_kit.errors import MissingData, OutputFault, UsageFault

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1]
ROOT = CHECKOUT if (CHECKOUT / "pyproject.toml").is_file() else PACKAGE  # all that belongs to this kit


def bundled(name: str) -> Path:
    """Path of `evaluate.py`, `baselines` or `sample_data`: the checkout's own if there is one, else the wheel's."""
    path = (ROOT if ROOT == CHECKOUT else PACKAGE / "bundled") / name
    if not path.exists():
        raise MissingData(
            f"{path} is not there: the installation is incomplete.",
            hint="Install again: pip install --force-reinstall dfdc-starter-kit",
        )
    return path


@contextmanager
def writing_to(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to `path` when the block ends well and removed when it does not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise OutputFault(
            f"Cannot write {path}: {error.strerror}.", hint="Choose a folder that can be written."
        ) from error
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise OutputFault(
            f"Cannot write {path}: {error.strerror}.", hint="Free some space or choose another folder."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` whole or not at all."""
    with writing_to(path) as part:
        part.write_bytes(content)


@contextmanager
def holding(path: Path, busy: str, option: str) -> Iterator[None]:
    """Hold the lock file `path`, made if need be, for this process; the system lets go of it however the process ends.

    Raises UsageFault, with the sentence `busy`, if another process holds it; OutputFault, naming the `option` that
    chooses another folder.
    """
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        message = f"Cannot write {path}: {error.strerror}."
        raise OutputFault(message, hint=f"Choose a folder that can be written: {option} DIR") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise UsageFault(f"{busy} (process {holder}).", hint="Wait for it, or stop it with Ctrl-C") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


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
