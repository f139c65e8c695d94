"""One program at a time in a folder: two at once would mix what they write, and each would tidy away the other's."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards import StopError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"  # stays; who holds it stands in it


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other programs out of `folder`, made where it is not there. Raises StopError if one is in it.

    The lock ends with this process, however that ends. It is one of `lockf`, not of `flock`: processes that were forked
    to make batches do not hold it on after their parent was killed.
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
            raise StopError(f"{folder} is in use by {holder}. Wait for its end, or choose another folder.") from error
        except OSError as error:  # some network file systems
            print(f"{folder} cannot be locked ({error}): start nothing else that writes there.", flush=True)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
