"""The command line `dfdc`: parse, call, render. Only this package uses typer and rich; it imports nothing heavy."""

import errno
import os
import re
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from dfdc_kit.cli.console import ReaderGoneError, fail, printed_documents
from dfdc_kit.errors import KitError, OutputError, UsageError, suggest

STOP_SIGNALS = ("SIGTERM", "SIGHUP")  # handled as Ctrl-C: children end, the report is written
SIGPIPE_CODE = 141  # what a shell reports for a program that SIGPIPE ended
OS_ERROR_HINTS = {
    errno.ENOSPC: "Free some disk space.",
    errno.EDQUOT: "Free some of your disk quota.",
    errno.EROFS: "The file system is read-only: choose a folder that can be written.",
    errno.EACCES: "Check the permissions of the path and of the folders above it: ls -ld",
    errno.EPERM: "Check the permissions of the path and of the folders above it: ls -ld",
    errno.ELOOP: "Symbolic links form a loop: check the path.",
    errno.ENOLCK: "The file system supports no locks: choose a folder on another one.",
    errno.EMFILE: "Raise the limit of open files: ulimit -n",
}


def main() -> None:
    """Run the command line; a foreseeable fault ends in a sentence and its exit code, never in a traceback."""
    received: list[int] = []
    _handle_stop_signals(received)
    code = _run_command()
    sys.exit(128 + received[0] if received and code == 130 else code)


def _run_command() -> int:
    """Run the command in `sys.argv`; its exit code."""
    from dfdc_kit.cli.app import app_for, click_exception

    printed_documents.clear()
    try:
        try:
            _check_names_are_text(sys.argv)
            if sys.argv[1:2] == ["judge-one"]:  # a worker of `dfdc judge`, which parses its own arguments
                from dfdc_kit.competition.worker import main as judge_one

                return judge_one(sys.argv[2:])
            return app_for(sys.argv[1:])(standalone_mode=False) or 0
        finally:
            sys.stdout.flush()
    except KitError as error:
        return fail(error, sys.argv[1:])
    except click_exception() as error:
        return _fail_usage(error)
    except (KeyboardInterrupt, EOFError):
        return 130
    except (ReaderGoneError, BrokenPipeError):  # the reader, `head` for instance, has closed the pipe
        _discard_output()
        return SIGPIPE_CODE
    except OSError as error:
        return _fail_os_error(error)


def _fail_usage(error: Exception) -> int:
    """Print an error of typer in the style of all errors. What it raised with no arguments at all is the help text."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return 2
    message = re.sub(r"Value error, |\s*\((?:Did you mean|Possible options).*", "", error.format_message())  # type: ignore[attr-defined]
    hint = ""
    if possible := getattr(error, "possibilities", None):
        hint = f"Did you mean {' or '.join(map(repr, possible))}?"
    elif refused := re.search(r"'([^']*)' is not one of (.*)", message):
        hint = suggest(refused[1], re.findall(r"'([^']*)'", refused[2]), label="Choices")
    context = getattr(error, "ctx", None)
    command = f"{context.command_path if context else 'dfdc'} --help"
    return fail(UsageError(message, hint=hint, command=command), sys.argv[1:])


def _fail_os_error(error: OSError) -> int:
    """Print one sentence about an operating system error that no command foresaw; the exit code, 3 or above."""
    if error.errno == errno.ENAMETOOLONG:
        too_long = UsageError(f"A name is too long: {str(error.filename)[:80]} ...", hint="Choose a shorter one.")
        return fail(too_long, sys.argv[1:])
    reason = error.strerror or str(error) or type(error).__name__
    hint = OS_ERROR_HINTS.get(error.errno or 0, "")
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
        _discard_output()
        return fail(OutputError(f"The output cannot be written: {reason}.", hint=hint))
    where = f"{error.filename}: " if error.filename is not None else ""
    return fail(OutputError(f"{where}{reason}.", hint=hint), sys.argv[1:])


def _check_names_are_text(arguments: list[str]) -> None:
    """Raise UsageError for a name that is not UTF-8: it could not be written into a report."""
    try:
        current = str(Path.cwd())
    except OSError:  # it was removed
        current = ""
    for argument in (current, *arguments):
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{argument!a} contains bytes that are not UTF-8.", hint="Rename the file.") from error


def _handle_stop_signals(received: list[int]) -> None:
    """Have STOP_SIGNALS raise KeyboardInterrupt, unless the parent process ignores them, as `nohup` does."""

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for name in STOP_SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)
    sys.unraisablehook = _interrupt_again


def _interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Repeat an interruption that came while a finalizer ran: Python ignores what a finalizer raises."""
    if isinstance(ignored.exc_value, KeyboardInterrupt):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(ignored)


def _discard_output() -> None:
    """Send buffered standard output to /dev/null: Python would try to write it once more when it exits."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
