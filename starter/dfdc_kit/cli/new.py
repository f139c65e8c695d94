"""`dfdc new`: a code submission of one's own, that runs at once."""

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
    out.print(f"[bold]{plain(str(name))}[/] holds: {', '.join(written)}", soft_wrap=True)
    out.print(f"  next: dfdc run {plain(typed(name))}", soft_wrap=True)
