"""The data folder while somebody works on it: one process at a time, and room for what comes."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfdc_kit.data.download.amounts import amount
from dfdc_kit.data.download.names import OURS
from dfdc_kit.errors import OutputFault, UsageFault

LOCK = Path(OURS) / "lock"
SPARE_BYTES = 64 << 20  # left free for everybody else


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be, for this process. Raises UsageFault if another holds it, OutputFault."""
    import fcntl

    try:
        (folder / LOCK).parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        message = f"Cannot write in {folder}: {error.strerror}."
        raise OutputFault(message, hint="Choose a folder that can be written: --to DIR") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system, however the process ends
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            message = f"Another download is at work in {folder} (process {holder})."
            raise UsageFault(message, hint="Wait for it, or choose another folder: --to DIR") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def free_bytes(folder: Path) -> int:
    """The free space where `folder` is or would be made, in bytes."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise OutputFault if the disk of `folder` has no room for `needed_bytes` more."""
    free = free_bytes(folder)
    if needed_bytes + SPARE_BYTES > free:
        message = (
            f"{folder} needs {amount(needed_bytes)} more, and {amount(SPARE_BYTES)} to spare; {amount(free)} are free."
        )
        raise OutputFault(message, hint="Free some space, or choose a folder on another disk: --to DIR")
