"""`dfdc open`: open the report of a run in the browser."""

import os
import sys
import webbrowser
from pathlib import Path

from dfdc_kit.cli.console import RunArgument, RunsOption, out, plain


def open_report(run: RunArgument = "last", runs: RunsOption = Path("runs")) -> None:
    """Open the report of a run in the browser.

    Prints the path of the report; that is all where there is no browser.

    Examples:

        dfdc open
        dfdc open 20261124-031248-frame-stats
    """
    from dfdc_kit.report.history import find_run
    from dfdc_kit.report.html import write
    from dfdc_kit.report.run_report import PAGE, load

    folder = find_run(runs, run)
    page = folder / PAGE
    if not page.is_file():
        write(load(folder), folder)
    out.print(plain(str(page)), soft_wrap=True)
    if _has_display():
        webbrowser.open(page.resolve().as_uri())


def _has_display() -> bool:
    """Whether a browser window can appear: a text browser would take over the terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
