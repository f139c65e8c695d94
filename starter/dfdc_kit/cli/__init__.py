"""The command line `dfdc`: parse, call, render. The only room that knows typer and rich; it imports nothing heavy."""

import errno
import os
import signal
import sys
from types import FrameType

from dfdc_kit.cli.console import ReaderGoneError, fail
from dfdc_kit.errors import KitError, OutputError, UsageError

ENDS = ("SIGTERM", "SIGHUP")  # end a command as Ctrl-C does: tidily, with a report
READER_GONE = 141  # as a shell says it of a program that SIGPIPE ended


def main() -> None:
    """Run the command line; a foreseeable fault ends in a sentence and its exit code, never in a traceback."""
    ended_by: list[int] = []
    _end_as_ctrl_c_does(ended_by)
    code = _call()
    sys.exit(128 + ended_by[0] if ended_by and code == 130 else code)


def _call() -> int | str | None:
    """Call the command; the exit code."""
    from dfdc_kit.cli.app import app

    try:
        try:
            _refuse_what_is_no_text(sys.argv)
            app()
        finally:
            sys.stdout.flush()
    except SystemExit as end:
        return end.code
    except KitError as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130
    except (ReaderGoneError, BrokenPipeError):  # the reader, `head` for instance, has seen enough
        _forget_output()
        return READER_GONE
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return fail(UsageError(f"A name is too long: {str(error.filename)[:80]} ...", hint="Choose a shorter one."))
        if error.errno != errno.ENOSPC:
            raise
        _forget_output()
        return fail(OutputError(f"The output cannot be written: {error.strerror}.", hint="Free some space."))
    return 0


def _refuse_what_is_no_text(arguments: list[str]) -> None:
    """Names that cannot be written into a report are no names to work with. Raises UsageError."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{argument!a} holds bytes that are not UTF-8.", hint="Give the file or folder another name."
            ) from error


def _end_as_ctrl_c_does(ended_by: list[int]) -> None:
    """Have ENDS raise KeyboardInterrupt, unless whoever started us wants them ignored, as `nohup` does."""

    def interrupt(number: int, _: FrameType | None) -> None:
        ended_by.append(number)
        raise KeyboardInterrupt

    for name in ENDS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)


def _forget_output() -> None:
    """What is still held back for standard output goes nowhere: else Python tries once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
