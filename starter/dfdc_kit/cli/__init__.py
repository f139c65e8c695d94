"""The command line `dfdc`: parse, call, render. The only room that knows typer and rich; it imports nothing heavy."""

import sys

from dfdc_kit.cli.console import fail
from dfdc_kit.errors import KitError


def main() -> None:
    """Run the command line; a foreseeable fault ends in a sentence and its exit code, never in a traceback."""
    from dfdc_kit.cli.app import app

    try:
        app()
    except KitError as error:
        sys.exit(fail(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        sys.stderr.close()
        sys.exit(141)
