"""`dfdc rejudge`: repeat the judgement of a finished run from what it left."""

from pathlib import Path
from typing import Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json


def rejudge(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run, with its run.json.")],
    as_json: JsonOption = False,
) -> None:
    """Judge a finished run again from its report and files.

    Exit code 1 if any result differs.

    Examples:

        dfdc rejudge runs/20261124-031248-frame-stats
    """
    from dfdc_kit.harness.rejudge import rejudge as judge_again

    second = judge_again(run)
    if as_json:
        print_json(second)
    else:
        judgement = second.judgement
        out.print(f"{second.run_id}: {judgement.verdict.value} {plain(judgement.why)}".rstrip(), soft_wrap=True)
        if second.score is not None:
            out.print(f"score {second.score.displayed} (in full {second.score.value!r})", soft_wrap=True)
        if second.not_repeated:
            out.print(f"[yellow]not repeated[/]: {plain(second.not_repeated)}", soft_wrap=True)
        said = f"DIFFERENT: {', '.join(second.differences)}" if second.differences else "THE SAME, bit for bit"
        out.print(said)
    if second.differences:
        raise typer.Exit(1)
