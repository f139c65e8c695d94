"""Import the modules of a baseline. Baselines use the same module names, so they are forgotten afterwards."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


@contextlib.contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Make the modules in `folders` importable inside this context."""
    names = {path.stem for folder in folders for path in folder.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    path = sys.path.copy()
    sys.path[:0] = map(str, folders)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def load(folder: Path, *names: str) -> list[ModuleType]:
    """The modules `names` of the baseline in `folder`."""
    with importable(folder):
        return [importlib.import_module(name) for name in names]
