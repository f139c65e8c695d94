"""`dfdc new`: start a code submission from the template or a baseline."""

from pathlib import Path
from typing import Annotated

import typer

from dfdc_kit.cli.console import out, plain, typed


def new(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="Folder to create; its name is the submission's name.")],
    source: Annotated[
        str,
        typer.Option("--from", metavar="BASELINE", help="Start from this bundled baseline instead of the template."),
    ] = "",
) -> None:
    """Create a code submission that runs as it is.

    Examples:

        dfdc new my-detector
        dfdc new my-detector --from frame-stats
    """
    from dfdc_kit.submission.code import start

    written = start(name, source)
    out.print(f"created [bold]{plain(str(name))}/[/]: {', '.join(written)}", soft_wrap=True)
    out.print(f"  next: dfdc run {plain(typed(name))}", soft_wrap=True)
