"""How fast this machine and the hosted one are: measured, kept in the user's cache folder, read back; never guessed."""

import math
import os
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import BadData, KitError, MissingData, OutputFault, UsageFault
from dfdc_kit.harness.forecast import measure
from dfdc_kit.records import write_json
from dfdc_kit.resources import PACKAGE
from dfdc_kit.settings import Settings, read_toml

SCHEMA_VERSION = 1
HERE, HOSTED = "calibration.json", "hosted.json"  # in the cache folder
CONSTANTS = PACKAGE / "harness" / "forecast" / "hosted.toml"
MEASURE = PACKAGE / "harness" / "forecast" / "measure.py"


class Calibration(Settings, frozen=True, kw_only=True):
    """One machine, as `measure.py` measured it."""

    schema_version: int
    decode_frames_per_s_core: float  # 1080p H.264, one thread, by CPU time
    decode_frames_per_s_all: float  # one decoder on each core, by wall time
    matmul_gflop_per_s: float  # float32, all cores
    cores: int
    cpu: str
    gpu: str  # empty: none
    system: str
    versions: dict[str, str]
    clip_bytes: int
    measured: str  # ISO 8601
    source: str


class CpuConstant(Settings, frozen=True, kw_only=True):
    """What is assumed of a hosted core while nobody has measured it."""

    core_speed: tuple[float, float]
    source: str
    as_of: str


class VideoConstant(Settings, frozen=True, kw_only=True):
    """The typical test video."""

    frames: int
    source: str
    as_of: str


class GpuConstant(Settings, frozen=True, kw_only=True):
    """One kind of GPU, [least, most] over its variants."""

    single_tflop_per_s: tuple[float, float]
    half_tflop_per_s: tuple[float, float]
    memory_gb_per_s: tuple[float, float]
    source: str
    as_of: str


class Constants(Settings, frozen=True, kw_only=True):
    """The published constants, from hosted.toml."""

    cpu: CpuConstant
    video: VideoConstant
    gpu: dict[str, GpuConstant]


def constants() -> Constants:
    """The published constants, each with source and date."""
    return read_toml(CONSTANTS, Constants)


def calibrate() -> Calibration:
    """Measure this machine; about 10 s. Raises KitError where PyAV cannot encode or decode H.264."""
    hint = "pip install --force-reinstall av"
    try:
        import av
    except ImportError as error:
        raise KitError(f"PyAV cannot be imported: {error}", hint=hint) from error
    try:
        return msgspec.convert(measure.measure(), Calibration)
    except av.FFmpegError as error:
        raise KitError(f"This machine cannot encode or decode H.264: {error}", hint=hint) from error


def cache_folder() -> Path:
    """Where measurements are kept: $XDG_CACHE_HOME/dfdc, or ~/.cache/dfdc."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dfdc"


def keep(calibration: Calibration, name: str = HERE) -> Path:
    """Keep a calibration as `name` in the cache folder; where it lies. Raises OutputFault."""
    path = cache_folder() / name
    try:
        write_json(path, calibration)
    except OutputFault as fault:
        raise OutputFault(str(fault), hint="Set XDG_CACHE_HOME to a folder that can be written.") from fault
    return path


def kept_here() -> Calibration | None:
    """What was measured on this machine; None if nothing was, or the file comes from another machine."""
    found = _kept(HERE)
    same = found is not None and (found.cpu, found.cores) == (measure.cpu_name(), measure.usable_cores())
    return found if same else None


def kept_hosted() -> Calibration | None:
    """What the calibration notebook measured on the hosted machine; None if it was not given yet."""
    return _kept(HOSTED)


def read(path: Path) -> Calibration:
    """Read a calibration, as the notebook writes it. Raises MissingData or BadData."""
    if not path.is_file():
        raise MissingData(f"There is no calibration {path}.", hint="Write the notebook: dfdc calibrate --notebook FILE")
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except msgspec.DecodeError as error:
        raise BadData(f"{path} is not a calibration: {error}", hint="Use the JSON that the notebook wrote.") from error
    rates = (found.decode_frames_per_s_core, found.decode_frames_per_s_all, found.matmul_gflop_per_s, found.cores)
    if found.schema_version != SCHEMA_VERSION or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise BadData(
            f"{path}: a rate is not above 0, or the schema version is not {SCHEMA_VERSION}.",
            hint="Use the JSON that the notebook wrote.",
        )
    return found


def write_notebook(path: Path) -> None:
    """Write the notebook (nbformat 4) that measures the machine it runs on. Raises UsageFault, OutputFault."""
    if path.exists():
        raise UsageFault(f"{path} is there already; nothing was changed.", hint="Choose another name.")
    intro = (
        "# Calibration of the hosted machine\n\n"
        "Run all cells on the machine and accelerator that will judge, save the output `" + measure.OUT + "` and give "
        "it to the kit: `dfdc calibrate --use " + measure.OUT + "`.\n\n"
        "Needs numpy and PyAV, no internet, no data, about a minute. If `import av` fails, switch the internet on for "
        "this notebook only and run `%pip install av` first."
    )
    cells = [_cell("markdown", "about", intro), _cell("code", "measure", MEASURE.read_text("utf-8"))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}
    write_json(path, notebook)


def _cell(kind: str, name: str, source: str) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _kept(name: str) -> Calibration | None:
    path = cache_folder() / name
    return read(path) if path.is_file() else None
