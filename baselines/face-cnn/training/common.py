"""What extract.py and train.py share: their error, number options, the path of model/, and a lock on a folder."""

import os
import platform
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUBMISSION = Path(__file__).resolve().parents[1]
if str(SUBMISSION / "model") not in sys.path:  # for this process, and for the worker processes that it starts
    sys.path.insert(1, str(SUBMISSION / "model"))

LOCK = ".lock"  # stays in the folder; names the process that holds it
Number = TypeVar("Number", int, float)


class InputError(Exception):
    """Something that the user must change; the text says what and how."""


def at_least(minimum: Number) -> Callable[[str], Number]:
    """Read a number of the type of `minimum`, for argparse's `type`."""

    def read(text: str) -> Number:
        try:
            value = type(minimum)(text)
        except ValueError:
            kind = "a whole number" if isinstance(minimum, int) else "a number"
            raise ArgumentTypeError(f"expected {kind}, got {text!r}") from None
        if not value >= minimum:
            raise ArgumentTypeError(f"expected at least {minimum}, got {text!r}")
        return value

    return read


def fraction(text: str) -> float:
    """Read a number from 0 to 1, for argparse's `type`."""
    value = at_least(0.0)(text)
    if value > 1:
        raise ArgumentTypeError(f"expected at most 1, got {text!r}")
    return value


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock `folder`, created if missing, against other programs. Raises InputError if another program holds the lock.

    Uses `lockf`, not `flock`: it ends with this process, and forked worker processes do not hold it after a kill.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        try:
            if fcntl is None:
                raise OSError("this system has no fcntl")
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            holder = file.read().strip() or "another program"
            raise InputError(
                f"{folder} is in use by {holder}. Wait until it ends, or choose another folder."
            ) from error
        except OSError as error:  # some network file systems have no locks
            print(f"{folder} cannot be locked ({error}): start no other program that writes there.", flush=True)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
