"""`dfdc baselines`: list the bundled baselines, and check that they still predict what was recorded."""

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
    out.print("\n  next: dfdc run baselines/frame-stats", soft_wrap=True)
    return None


def _record() -> None:
    from dfdc_kit.harness.baseline_check import record_baselines

    for path in record_baselines():
        out.print(f"wrote {path}", soft_wrap=True)


def _check(as_json: bool) -> None:
    from rich.table import Table

    from dfdc_kit.harness.baseline_check import check_baselines

    with err.status("Running the baselines on the sample ..."):
        checks = check_baselines()
    if as_json:
        print_json(checks)
    else:
        table = Table(
            "baseline", "verdict", "largest shift", "tolerance", box=None, pad_edge=False, padding=(0, 2, 0, 0)
        )
        for one in checks:
            verdict = "[green]as expected[/]" if one.as_expected else "[red]SHIFTED[/]"
            verdict = verdict if one.checked else "[yellow]not checked[/]"
            shift = "-" if one.largest_shift is None else f"{one.largest_shift:.2g} ({one.where})"
            table.add_row(one.name, verdict, shift, f"{one.tolerance:g}")
        out.print(table)
        for one in checks:
            if not one.as_expected:
                out.print(f"{one.name}: {one.why}", soft_wrap=True)
    if not all(one.as_expected for one in checks if one.checked):
        raise typer.Exit(1)
