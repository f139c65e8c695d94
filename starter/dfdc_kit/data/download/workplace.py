"""The data folder while somebody works on it: one process at a time, and room for what comes."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from dfdc_kit.amounts import amount
from dfdc_kit.data.download.foreign_names import OURS
from dfdc_kit.errors import OutputFault
from dfdc_kit.resources import holding

LOCK = Path(OURS) / "lock"
SPARE_BYTES = 64 << 20  # left free for everybody else


def working_in(folder: Path) -> AbstractContextManager[None]:
    """Hold `folder`, made if need be, for this process. Raises UsageFault if another holds it, OutputFault."""
    return holding(folder / LOCK, f"Another download is at work in {folder}", "--to")


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
