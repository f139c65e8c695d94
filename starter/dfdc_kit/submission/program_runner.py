"""Run a notebook, or a script with notebook syntax, as Kaggle does; and install the wheels that a submission brings.

    python program_runner.py PROGRAM [ARGUMENT ...]

Staged next to the submission's files and run in the sandbox, so it imports nothing of the kit. All cells run in this
process, with IPython's shell but without a Jupyter kernel: no sockets, so it works in every sandbox. Like papermill,
which Kaggle uses, it stops at the first error, and at `sys.exit()` without one. Written for Python 3.6 and IPython 7,
too, which are in Kaggle's image of 2020.
"""

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # the submission's folder: the imports below are not its modules

import ast
import inspect
import json
import os
import re
import runpy
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

WHEELS = "wheels"  # folder of packages that Kaggle's image lacks, installed by the hosted program, too
CELL_MARKER = re.compile(r"^# (?:In ?\[[ \d]*\]:?|%%.*|<codecell>)\s*$", re.MULTILINE)  # nbconvert, jupytext, IPython
MAGIC = re.compile(  # a line of IPython: indentation, name that it is assigned to, sign, command
    r"^([ \t]*)(?:(\w[\w, ]*?) *= *)?(!!?(?!=)|%%?(?=[A-Za-z]))(.*)$", re.MULTILINE
)
CELL_MAGIC = re.compile(r"^%%[A-Za-z]", re.MULTILINE)
LANGUAGES = {"ir": "R", "xr": "R", "octave": "Octave", "bash": "bash"}  # of kernels, where a notebook names none
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # colours of a terminal
NO_INPUT = "raw_input was called, but this frontend does not support input requests."  # as a Jupyter kernel says it
KERNEL_ARGUMENTS = ["ipykernel_launcher.py", "-f", "/tmp/kernel.json", "--HistoryManager.hist_file=:memory:"]  # noqa: S108
DONE = b"."


def uses_notebook_syntax(path: Path) -> str:
    """The first line that needs IPython, as `line 3: !pip install x`, of a script; empty if Python runs it as it is."""
    source = path.read_bytes()
    lines = source.decode("utf-8-sig", "replace").splitlines()
    try:
        names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
        found = sorted(node.lineno for node in names if node.id == "get_ipython")
    except (SyntaxError, ValueError):  # ValueError: a null byte, before Python 3.12
        found = [at for at, line in enumerate(lines, 1) if MAGIC.match(line)]
    return f"line {found[0]}: {lines[found[0] - 1].strip()}" if found else ""


def is_needed(source: Path, entry: Path) -> bool:
    """Whether a program of the folder `source` has to be run by this one."""
    return needs_ipython(entry) or any(source.glob(f"{WHEELS}/*.whl"))


def needs_ipython(entry: Path) -> bool:
    """Whether a program is a notebook or a script with notebook syntax."""
    return entry.suffix == ".ipynb" or bool(uses_notebook_syntax(entry))


def read_cells(path: Path) -> "list[str]":
    """The code cells of a notebook (nbformat 3 or 4) or script; whatever kernel it names, they run with this Python.

    Raises ValueError for a file that is not a notebook, OtherLanguageError for a notebook of another language.
    """
    if path.suffix != ".ipynb":
        return [cell for _, cell in split_cells(path.read_text("utf-8-sig", errors="replace"))]
    try:
        notebook = json.loads(path.read_text("utf-8-sig"))
        metadata = notebook.get("metadata", {})
        kernel, info = metadata.get("kernelspec", {}), metadata.get("language_info", {})
        language = kernel.get("language") or info.get("name") or LANGUAGES.get(kernel.get("name"))
        sheets = [notebook] if "cells" in notebook else notebook["worksheets"]
        code = [cell for sheet in sheets for cell in sheet["cells"] if cell["cell_type"] == "code"]
        cells = ["".join(cell.get("source", cell.get("input", ""))) for cell in code]
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # ValueError: not JSON, not UTF-8
        raise ValueError(f"{path.name} is not a notebook: {type(error).__name__}: {error}") from error
    if str(language or "python").lower() not in ("python", "ipython"):
        raise OtherLanguageError(f"{path.name} is a notebook in {language}; only Python can be run here.")
    return cells


class OtherLanguageError(Exception):
    """A notebook is not in Python."""


def split_cells(source: str) -> "list[tuple[int, str]]":
    """A script in cells, each with the number of its first line: at markers of exported notebooks, and before each
    line with a cell magic such as %%bash.
    """
    starts = [match.start() for pattern in (CELL_MARKER, CELL_MAGIC) for match in pattern.finditer(source)]
    bounds = sorted({0, *starts, len(source)})
    cells = [(source.count("\n", 0, begin) + 1, source[begin : bounds[at]]) for at, begin in enumerate(bounds[:-1], 1)]
    return [(line, text) for line, text in ((line, CELL_MARKER.sub("", cell)) for line, cell in cells) if text.strip()]


class EndCell(BaseException):
    """`exit()` or `quit()` was called: the cell ends, and the next one runs."""


def _end_cell(*_: object, **__: object) -> None:
    raise EndCell


def make_shell(path: Path) -> Any:
    """IPython's shell, which behaves like a Jupyter kernel that has no user to ask."""
    import builtins
    import getpass
    import warnings

    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.error import StdinNotImplementedError
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Publisher(DisplayPublisher):
        """Prints the text of what is displayed."""

        def clear_output(self, wait: bool = False) -> None:
            """Do nothing: the log keeps what was printed."""

    class ZMQInteractiveShell(InteractiveShell):  # by this name programs recognise a notebook
        """Commands write to our own output; no GUI; tracebacks without colours."""

        system = InteractiveShell.system_raw  # not through a pseudo-terminal
        cell_number = 0  # of the running cell, from 1

        def init_display_pub(self) -> None:
            self.display_pub_class = Publisher
            super().init_display_pub()  # type: ignore[no-untyped-call]

        def enable_gui(self, gui: "str | None" = None) -> None:
            """Do nothing: figures are not shown."""

        def showtraceback(self, *args: Any, **options: Any) -> None:
            if sys.exc_info()[0] is not SystemExit:
                super().showtraceback(*args, **options)

        def _showtraceback(self, _: Any, __: Any, lines: Any) -> None:
            text = ESCAPES.sub("", self.InteractiveTB.stb2text(lines))
            print(f"\ncode cell {self.cell_number} failed\n{text}", flush=True)

    def no_input(*_: object, **__: object) -> str:
        raise StdinNotImplementedError(NO_INPUT)

    # IPKernelApp: how tqdm.autonotebook and others recognise a notebook
    settings = Config({"IPKernelApp": {"parent_appname": "papermill"}, "HistoryManager": {"enabled": False}})
    os.environ.setdefault("IPYTHONDIR", tempfile.mkdtemp(prefix="ipython-"))
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    shell = ZMQInteractiveShell.instance(config=settings)
    shell.user_ns.update(exit=_end_cell, quit=_end_cell)
    if path.suffix != ".ipynb":
        shell.user_ns["__file__"] = str(path)
    builtins.input = getpass.getpass = no_input
    with suppress(Exception):  # %store; IPython needs a folder of its own for it
        shell.run_line_magic("load_ext", "storemagic")
    for message in ("To exit: use 'exit', 'quit', or Ctrl-D.", "You executed the system command !pip"):
        warnings.filterwarnings("ignore", message=message)
    return shell


async def run_cells(shell: Any, cells: "list[str]") -> int:
    """Run the cells in order, inside an event loop as in Jupyter; the exit code."""
    for number, cell in enumerate(cells, 1):
        shell.cell_number = number
        try:
            transformed, fault = shell.transform_cell(cell), None
        except Exception:  # noqa: BLE001 - a syntax error of the cell: the shell reports it
            transformed, fault = cell, sys.exc_info()
        options = {"transformed_cell": transformed, "preprocessing_exc_tuple": fault}
        if "transformed_cell" not in inspect.signature(shell.should_run_async).parameters:
            options = {}  # an IPython of 2020 transforms the cell itself
        if shell.should_run_async(cell, **options):
            result = await shell.run_cell_async(cell, store_history=True, **options)
        else:
            result = shell.run_cell(cell, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, SystemExit):
            if error.code in (None, 0):
                return 0
            print(f"\ncode cell {number} failed\nSystemExit: {error.code}", flush=True)
        if error is not None and not isinstance(error, EndCell):
            return 1
    return 0


def run_ipython(path: Path) -> int:
    """Run a notebook or a script with notebook syntax; the exit code."""
    cells = read_cells(path)
    syntax = "" if path.suffix == ".ipynb" else uses_notebook_syntax(path)
    if syntax:
        print(f"[dfdc] {path.name} has notebook syntax, so it is run through IPython ({syntax})", flush=True)
    shell = make_shell(path)
    shell.set_custom_exc((EndCell,), lambda *_, **__: None)
    shell.displayhook.write_output_prompt = lambda: None  # no Out[1]: in the log
    import asyncio

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(run_cells(shell, cells))


def install_wheels(folder: Path) -> None:
    """Install the wheels of a folder without their dependencies, as the hosted program does. Raises CalledProcessError.

    Into the environment of this Python, which is the run's own.
    """
    found = sorted(str(path) for path in folder.glob("*.whl"))
    if found:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-index", "--no-deps", *found], check=True)


def guard(run: Any) -> int:
    """Call `run` in a child process and return its exit code, or 1 if it ends before `run` returns, by os._exit().

    A child that is killed by a signal takes this process with it: the harness sees the signal.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code = run()
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(writer, DONE)
        os._exit(code)  # threads that still run end with the notebook
    os.close(writer)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    code = os.WEXITSTATUS(status)
    os.set_blocking(reader, False)  # processes that it left may still hold the other end
    with suppress(BlockingIOError):
        if os.read(reader, 1) == DONE:
            return code
    print(f"\nthe kernel died: a cell ended the process with exit code {code}, without an exception", flush=True)
    return code or 1


def main(path: Path) -> int:
    """Run the program in the current folder; the exit code."""
    install_wheels(Path(__file__).parent / WHEELS)
    folder = str(path.parent)
    beside = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(beside)  # of programs that cells start
    sys.argv = sys.argv[1:]
    if path.suffix == ".ipynb" and len(sys.argv) == 1:
        sys.argv = KERNEL_ARGUMENTS
    if needs_ipython(path):
        sys.path[:0] = ["", folder]
        return guard(lambda: run_ipython(path))
    sys.path.insert(0, folder)
    runpy.run_path(str(path), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
