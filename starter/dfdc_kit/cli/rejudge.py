"""`dfdc rejudge`: repeat the judgement of a finished run from what it left."""

from pathlib import Path

import typer

from dfdc_kit.cli.console import JsonOption, RunArgument, RunsOption, out, plain, print_json


def rejudge(
    run: RunArgument = "last",
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Judge a finished run again from its report and files.

    Exit code 1 if any result differs.

    Examples:

        dfdc rejudge last
        dfdc rejudge 20261124-031248-frame-stats
    """
    from dfdc_kit.harness.judge import rejudge as judge_again
    from dfdc_kit.report.history import find_run

    second = judge_again(find_run(runs, run))
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
