"""Runs whenever the run's own Python starts: shows it the packages of dfdc's Python, and notes missing input.

Copied into the environment of the run, so it imports nothing of the kit.
"""

# ruff: noqa: PTH100, PTH112, PTH118, PTH120, PTH208
# pathlib takes milliseconds to import, in every process that a program starts

import builtins
import io
import os
import site
import sys

TYPE_CHECKING = False  # of the module typing, which takes milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

MISSING_INPUT = "missing-input"  # in the environment's folder: paths below /kaggle/input, one on each line
MOST_PATHS = 200  # noted by one process


def start(folders: list[str]) -> None:
    """Prepare this Python. folders: where the packages of dfdc's Python are."""
    if isinstance(open, Watched):  # Python reads the .pth files of a virtual environment twice
        return
    os.environ["PATH"] = sys.prefix + "/bin:" + os.environ.get("PATH", os.defpath)
    for folder in folders:
        site.addsitedir(folder)
    for folder in sys.path[:]:
        try:
            if os.path.isdir(folder):
                os.listdir(folder)
        except PermissionError:  # hidden by the sandbox: pip would fail on it
            sys.path.remove(folder)
    _watch()


def _watch() -> None:
    """Replace the functions that look for files. An audit hook sees no stat(), and doubles the time of deepcopy."""
    inputs = [f"{os.path.dirname(os.environ.get('DFDC_INPUT_DIR', ''))}/", "/kaggle/input/"]
    seen: set[str] = set()

    def note(path: "str | bytes") -> None:
        full = os.path.abspath(os.fsdecode(path))
        full = f"{full}/." if f"{full}/" in inputs else full
        name = next((full[len(folder) :] for folder in inputs if len(folder) > 1 and full.startswith(folder)), "")
        if name and name not in seen and len(seen) < MOST_PATHS and "\n" not in name:
            seen.add(name)
            target = os.open(os.path.join(sys.prefix, MISSING_INPUT), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(target, os.fsencode(f"{name}\n"))
            os.close(target)

    supported = [getattr(os, name) for name in ("supports_dir_fd", "supports_fd", "supports_follow_symlinks")]
    for name in ("stat", "listdir", "scandir"):
        original = getattr(os, name)
        watched = Watched(original, "os", note)
        setattr(os, name, watched)
        for functions in supported:
            if original in functions:
                functions.add(watched)
    builtins.open = io.open = Watched(open, "io", note)
    sys.excepthook = _without_our_frame


class Watched:
    """A function as it was, which also calls `note` with the path that it did not find.

    An instance, not a function: as an attribute of a class it must not become a method.
    """

    def __init__(self, original: "Any", module: str, note: "Callable[[Any], None]") -> None:
        self.__wrapped__ = original
        self.__name__ = self.__qualname__ = original.__name__
        self.__doc__ = original.__doc__
        self.__module__ = module
        self._note = note

    def __call__(self, *args: "Any", **options: "Any") -> "Any":  # noqa: D102
        __tracebackhide__ = True  # in IPython
        try:
            return self.__wrapped__(*args, **options)
        except (FileNotFoundError, NotADirectoryError) as error:
            self._try_to_note(error.filename)
            raise

    def _try_to_note(self, path: "Any") -> None:
        try:
            if isinstance(path, str | bytes):
                self._note(path)
        except OSError:  # the environment cannot be written, or the current folder is gone
            pass

    def __reduce__(self) -> str:
        return str(self.__name__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


def _without_our_frame(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
    """Print a traceback as without this module."""
    last = trace
    while last and last.tb_next:
        if last.tb_next.tb_frame.f_code is Watched.__call__.__code__:
            last.tb_next = None
        else:
            last = last.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)
