"""Commands about this machine and the hosted ones: `dfdc doctor`, `dfdc calibrate` and `dfdc profiles`."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.harness.doctor import DoctorReport
    from dfdc_kit.harness.forecast.calibration import Calibration


COLORS = {"ok": "green", "optional": "dim", "warning": "yellow", "problem": "red"}


def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 on a warning or problem.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check what works on this machine, and how to fix it.

    Examples:

        dfdc doctor
        dfdc doctor --strict
    """
    from dfdc_kit.harness.doctor import examine

    report = examine()
    if as_json:
        print_json(report)
    else:
        _show_doctor(report)
    if strict and any(finding.status in ("warning", "problem") for finding in report.findings):
        raise typer.Exit(3)


def _show_doctor(report: "DoctorReport") -> None:
    from rich.table import Table

    out.print(f"[bold]{plain(report.verdict)}[/]")
    if optional := [finding.name for finding in report.findings if finding.status == "optional"]:
        out.print(f"Optional, missing here: {', '.join(optional)}")
    for group, members in groupby(report.findings, key=lambda finding: finding.group):
        out.print(f"\n[bold]{group}[/]")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for finding in members:
            fix = f"\n[bold]fix:[/] {plain(finding.fix)}" if finding.fix else ""
            status = f"  [{COLORS[finding.status]}]{finding.status}[/]"
            table.add_row(status, finding.name, plain(finding.seen) + fix)
        out.print(table)
    out.print("\n[bold]Limits of a run, by backend[/]")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for backend, limits in report.enforcement.items():
        for limit in limits:
            table.add_row(f"  {backend}", limit.limit, plain(f"{limit.status}: {limit.how}"))
    out.print(table)


def calibrate(
    notebook: Annotated[
        Path | None,
        typer.Option("--notebook", metavar="OUT.ipynb", help="Write a notebook that measures the hosted machine."),
    ] = None,
    use: Annotated[
        Path | None, typer.Option("--use", metavar="FILE.json", help="Use the measurements that this notebook wrote.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure this machine's speed, for time estimates.

    Takes about 10 seconds. `dfdc run` then estimates whether a submission fits
    into the time limit of the hosted machine.

    Examples:

        dfdc calibrate
        dfdc calibrate --notebook hosted.ipynb
        dfdc calibrate --use dfdc-calibration.json
    """
    from dfdc_kit.errors import UsageError
    from dfdc_kit.harness.forecast import calibration
    from dfdc_kit.harness.forecast.measure import OUT

    if notebook and use:
        raise UsageError(
            "--notebook and --use exclude each other.", hint="First write the notebook and run it at Kaggle."
        )
    if notebook:
        calibration.write_notebook(notebook)
        if as_json:
            print_json({"notebook": str(notebook)})
        else:
            out.print(f"Wrote {plain(str(notebook))}. Run it on the hosted machine and download its output.")
            out.print(f"  next: dfdc calibrate --use {OUT}")
        return
    measured = calibration.read(use) if use else calibration.calibrate()
    path = calibration.save(measured, calibration.HOSTED if use else calibration.LOCAL)
    if as_json:
        print_json(measured)
    else:
        _show_calibration(measured, path)


def _show_calibration(measured: "Calibration", path: Path) -> None:
    gpu = f", {measured.gpu}" if measured.gpu else ""
    out.print(f"[bold]{plain(measured.cpu)}[/], {plural(measured.cores, 'core')}{plain(gpu)}")
    core, together = measured.decode_frames_per_s_core, measured.decode_frames_per_s_all
    out.print(f"  decoding 1080p H.264: {core:.0f} frames/s a core, {together:.0f} frames/s on all cores")
    out.print(f"  matrix product: {measured.matmul_gflop_per_s:.0f} GFLOP/s on all cores (float32)")
    out.print(f"  saved in {plain(str(path))}")


def profiles(as_json: JsonOption = False) -> None:
    """List the runtime profiles and their limits.

    Examples:

        dfdc profiles
        dfdc profiles --json
    """
    from rich.table import Table

    from dfdc_kit import profiles as runtime_profiles

    loaded = {name: runtime_profiles.load(name) for name in runtime_profiles.names()}
    if as_json:
        return print_json(loaded)
    table = Table("profile", "time", "s/video", "memory", "output", "network", "machine", box=None, pad_edge=False)
    for name, profile in loaded.items():
        limits, hardware = profile.limits, profile.hardware
        cores = plural(hardware.cpu_cores, "core") if hardware.cpu_cores else ""
        table.add_row(
            name,
            f"{limits.wall_time_s / 3600:g} h" if limits.wall_time_s else "-",
            f"{profile.seconds_per_video:.3g}" if profile.seconds_per_video else "-",
            f"{limits.memory_bytes / 2**30:g} GiB" if limits.memory_bytes else "-",
            f"{limits.output_bytes / 2**30:g} GiB" if limits.output_bytes else "-",
            "yes" if limits.network else "no",
            ", ".join(filter(None, [hardware.gpu, cores])) or "-",
        )
    out.print(table)
    return None
