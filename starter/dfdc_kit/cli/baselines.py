"""`dfdc baselines`: the bundled ones, and whether they still predict what they should on this machine."""

from typing import Annotated

import typer

from dfdc_kit.cli.console import JsonOption, err, out, print_json


def baselines(
    check: Annotated[
        bool, typer.Option("--check", help="Run each on the bundled sample; compare with its expected predictions.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="For maintainers: store today's predictions as the expected ones."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the bundled baselines, or check their predictions.

    Examples:

        dfdc baselines
        dfdc baselines --check
    """
    if record:
        return _record()
    if check:
        return _check(as_json)
    from rich.table import Table

    from dfdc_kit.submission.code import baselines as bundled

    found = bundled()
    if as_json:
        return print_json({name: submission.settings for name, submission in found.items()})
    table = Table("baseline", "what it does", "needs", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, submission in found.items():
        needs = [*submission.settings.packages, *(["GPU"] if submission.settings.gpu else [])]
        table.add_row(name, submission.settings.description, ", ".join(needs) or "Python only")
    out.print(table)
    out.print("\n  next: dfdc run baselines/frame-stats   or   dfdc new my-detector --from frame-stats", soft_wrap=True)
    return None


def _record() -> None:
    from dfdc_kit.harness.baseline_check import record_baselines

    for path in record_baselines():
        out.print(f"wrote {path}", soft_wrap=True)


def _check(as_json: bool) -> None:
    from rich.table import Table

    from dfdc_kit.harness.baseline_check import check_baselines

    with err.status("running the baselines on the sample ..."):
        drifts = check_baselines()
    if as_json:
        print_json(drifts)
    else:
        table = Table(
            "baseline", "verdict", "largest shift", "tolerance", box=None, pad_edge=False, padding=(0, 2, 0, 0)
        )
        for drift in drifts:
            verdict = "[green]as expected[/]" if drift.as_expected else "[red]SHIFTED[/]"
            verdict = verdict if drift.checked else "[yellow]not checked[/]"
            shift = "-" if drift.largest_shift is None else f"{drift.largest_shift:.2g} ({drift.where})"
            table.add_row(drift.name, verdict, shift, f"{drift.tolerance:g}")
        out.print(table)
        for drift in drifts:
            if not drift.as_expected:
                out.print(f"{drift.name}: {drift.why}", soft_wrap=True)
    if not all(drift.as_expected for drift in drifts if drift.checked):
        raise typer.Exit(1)
