"""What every command shares: option types, consoles, JSON output, errors."""

import os
import re
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from dfdc_kit.errors import KitError

LINE_END = re.compile(r"(?:\x1b\[[0-9;]*m| )+(?=\n)")  # blanks, and codes that end a style
PIPED_WIDTH = 10_000  # columns: no table wraps its cells
WIDEST_NAME = 40  # characters: a longer name moves only its own line
DEFAULT_PROFILE = "kaggle-2020-gpu"  # profiles.DEFAULT, written out: importing it would make every --help slower
AllOption = Annotated[bool, typer.Option("--all", help="Show everything found, not only the first five of each kind.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
ProfileOption = Annotated[
    str, typer.Option("--profile", "-p", metavar="NAME", help="Runtime profile, see `dfdc profiles`.")
]

SubmissionArgument = Annotated[
    Path, typer.Argument(metavar="SUBMISSION", help="Folder with a code submission, or a .py or .ipynb file.")
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend", metavar="NAME", help="Sandbox: bubblewrap, oci or process; default: the best that works."
    ),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="SLUG=DIR", help="Folder of an attached dataset on this machine; can be repeated."),
]
RequireOption = Annotated[
    str,
    typer.Option(
        "--require", metavar="LIMITS", help="Comma-separated limits that must be enforced, e.g. network,memory."
    ),
]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Run id, the start of one, a run folder, or `last` for the newest run.")
]
RunsOption = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of all runs and their history.")]


class ReaderGoneError(Exception):
    """The reader of our output, `head` for instance, has closed the pipe."""


class TrimmedStream:
    """Standard output or error, as it is at the time, without blanks at the ends of lines: tables pad their cells."""

    def __init__(self, name: str) -> None:
        self._name = name

    def write(self, text: str) -> int:
        """Write without the blanks."""
        return int(self._stream().write(LINE_END.sub(lambda end: end[0].replace(" ", ""), text)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream(), name)

    def _stream(self) -> Any:
        stream = getattr(sys, self._name)
        return getattr(stream, "rich_proxied_file", stream)  # while rich shows progress, it replaces the stream


class Terminal(Console):
    """A console that raises ReaderGoneError when its reader has gone, instead of ending the program."""

    def on_broken_pipe(self) -> None:
        """Raises ReaderGoneError."""
        raise ReaderGoneError


printed_documents: list[str] = []  # by `print_json`, of which a command prints one


def open_streams() -> None:
    """Make both output streams writable: a closed one becomes /dev/null; text that cannot be encoded is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for as long as we run
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _terminal(name: str) -> Terminal:
    """A console on sys.stdout or sys.stderr; where that is piped, lines have any length."""
    piped = not getattr(sys, name).isatty()
    file: Any = TrimmedStream(name)
    return Terminal(file=file, highlight=False, soft_wrap=piped, width=PIPED_WIDTH if piped else None)


open_streams()
out, err = _terminal("stdout"), _terminal("stderr")


def fail(error: KitError, arguments: Sequence[str] = ()) -> int:
    """Print the error, its hint and the next command, each on a line of its own, to stderr; returns the exit code.

    With `--json` among the command's `arguments`, the error is also a JSON document on stdout, with all faults, unless
    the command has printed its own document; with `--all`, all faults are printed.
    """
    text = error.text(len(error.faults)) if "--all" in arguments else str(error)
    if "--json" in arguments and not printed_documents:
        record = {"code": error.code, "message": error.summary, "hint": error.hint, "command": error.command}
        print_json({"error": record | {"faults": error.faults}})
    err.print(Text.assemble(("error", "bold red"), f"[{error.code}]: ", text))
    if error.hint:
        err.print(Text.assemble(("  hint: ", "bold"), error.hint))
    if error.command:
        err.print(Text.assemble(("  next: ", "bold"), error.command), soft_wrap=True)
    return error.exit_code


def warn(text: str) -> None:
    """Print a warning to standard error."""
    err.print(Text.assemble(("warning", "bold yellow"), f": {text}"))


def say(text: str, indent: int = 0) -> None:
    """Print one paragraph: wrapped with its indent on a terminal, one line where the output is piped."""
    if out.soft_wrap:
        return out.print(" " * indent + text)
    from rich.padding import Padding

    return out.print(Padding(text, (0, 0, 0, indent), expand=False))


def print_next(command: str) -> None:
    """Print the next command to type, on a line of its own."""
    out.print(Text.assemble(("  next: ", "bold"), command), soft_wrap=True)


def print_json(record: object) -> None:
    """Print `record` (msgspec records, dicts, lists, numbers, paths) as one indented JSON document."""
    from dfdc_kit.files import to_json

    printed_documents.append(type(record).__name__)
    try:
        sys.stdout.write(to_json(record).decode())
        sys.stdout.flush()
    except BrokenPipeError as error:  # typer would end the program with the code 1
        raise ReaderGoneError from error


def print_rows(rows: Sequence[tuple[str, str, str]]) -> None:
    """Print (name, text, style) each on a line; long texts wrap with an indent on a terminal, and never when piped."""
    width = min(max((len(name) for name, _, _ in rows), default=0), WIDEST_NAME) + 2
    for name, text, style in rows:
        columns = max(out.width - width - 2, 20)
        wrapped = textwrap.wrap(text, columns, break_on_hyphens=False, break_long_words=False)  # paths stay whole
        lines = [text] if out.soft_wrap else wrapped or [""]
        for label, line in zip([name, *[""] * (len(lines) - 1)], lines, strict=True):
            styled = f"[{style}]{plain(line)}[/]" if style else plain(line)
            out.print(f"  {plain(f'{label:<{width}}')}{' ' * (len(label) >= width)}{styled}", soft_wrap=True)


def class_names() -> tuple[str, str]:
    """What the labels 1 and 0 mean in the chosen challenge: FAKE and REAL in this one."""
    from dfdc_kit import challenge as challenges

    submission = challenges.load().submission
    return submission.positive, submission.negative


def wanted(limits: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name.strip() for name in limits.split(",") if name.strip()]


def shown(path: Path) -> Path:
    """The path relative to the current folder, if it is below it; else the path itself."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def typed(path: Path) -> str:
    """The path as a shell takes it: short, and quoted where necessary."""
    return shlex.quote(str(shown(path)))


def plain(text: str) -> str:
    """Untrusted text, safe to print: markup, terminal escape codes and line breaks are escaped."""
    return escape("".join(ch if ch.isprintable() else f"\\x{ord(ch):02x}" for ch in text))
