"""Folders that a program has nested so deeply that no path reaches their end, and no recursive program walks them."""

import os
from pathlib import Path

DEEPEST = 64  # levels
LONGEST = 2000  # characters of a path; the kernel takes 4095


def prune(folder: Path) -> None:
    """Cut off what lies too deep below `folder`, and open every folder above, so that its owner can remove the rest.

    Nothing may run in it any more. Raises OSError.
    """
    folders = [(str(folder), 0)]
    while folders:
        path, depth = folders.pop()
        os.chmod(path, 0o700)  # noqa: PTH101  # its owner's; the program may have closed it
        with os.scandir(path) as entries:
            below = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        for entry in below:
            if depth + 1 >= DEEPEST or len(entry.path) > LONGEST:
                _remove(path, entry.name)
            else:
                folders.append((entry.path, depth + 1))


def _remove(parent: str, name: str) -> None:
    """Remove a folder of any depth: each folder in it is first moved up beside it, so that no path grows."""
    top = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        waiting, moved = [name], 0
        while waiting:
            name = waiting.pop()
            os.chmod(name, 0o700, dir_fd=top)
            here = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            try:
                for entry in list(os.scandir(here)):
                    if entry.is_dir(follow_symlinks=False):
                        os.chmod(entry.name, 0o700, dir_fd=here)
                        moved += 1
                        waiting.append(f".dfdc-removed-{moved}")
                        os.rename(entry.name, waiting[-1], src_dir_fd=here, dst_dir_fd=top)
                    else:
                        os.unlink(entry.name, dir_fd=here)
            finally:
                os.close(here)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
