"""`dfdc calibrate`: measure the speed of this machine, and use measurements of the hosted one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.harness.forecast.calibration import Calibration


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
        _show(measured, path)


def _show(measured: "Calibration", path: Path) -> None:
    gpu = f", {measured.gpu}" if measured.gpu else ""
    out.print(f"[bold]{plain(measured.cpu)}[/], {plural(measured.cores, 'core')}{plain(gpu)}")
    core, together = measured.decode_frames_per_s_core, measured.decode_frames_per_s_all
    out.print(f"  decoding 1080p H.264: {core:.0f} frames/s a core, {together:.0f} frames/s on all cores")
    out.print(f"  matrix product: {measured.matmul_gflop_per_s:.0f} GFLOP/s on all cores (float32)")
    out.print(f"  saved in {plain(str(path))}")
