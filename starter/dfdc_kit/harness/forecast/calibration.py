"""Measured speeds of this machine and the hosted one, kept in the user's cache folder, and published constants."""

import math
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import DataError, DataMissingError, KitError, OutputError, UsageError
from dfdc_kit.files import PACKAGE, cache_folder, write_json
from dfdc_kit.harness.forecast.measure import OUT, SCHEMA_VERSION, cpu_name, measure, usable_cores
from dfdc_kit.settings import Settings, read_toml

LOCAL, HOSTED = "calibration.json", "hosted.json"  # in the cache folder
CONSTANTS = PACKAGE / "harness" / "forecast" / "hosted.toml"
MEASURE = PACKAGE / "harness" / "forecast" / "measure.py"  # the code cell of the notebook
NEEDS_AV = "PyAV with H.264 is needed."
NOTEBOOK = "dfdc calibrate --notebook hosted.ipynb"
REINSTALL = "pip install --force-reinstall av"


class Calibration(Settings, frozen=True, kw_only=True):
    """The speed of one machine, as `measure.py` measured it."""

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
    """The assumed speed of a hosted core, until it is measured."""

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
    try:
        import av
    except ImportError as error:
        raise KitError(f"PyAV cannot be imported: {error}", hint=NEEDS_AV, command=REINSTALL) from error
    try:
        return msgspec.convert(measure(), Calibration)
    except av.FFmpegError as error:
        raise KitError(
            f"This machine cannot encode or decode H.264: {error}", hint=NEEDS_AV, command=REINSTALL
        ) from error


def save(calibration: Calibration, name: str = LOCAL) -> Path:
    """Write a calibration to `name` in the cache folder; returns its path. Raises OutputError."""
    path = cache_folder() / name
    try:
        write_json(path, calibration)
    except OutputError as error:
        raise OutputError(str(error), hint="Set XDG_CACHE_HOME to a writable folder.") from error
    return path


def local_calibration() -> Calibration | None:
    """The saved calibration of this machine; None if there is none, or it is of another machine."""
    found = _saved(LOCAL)
    same = found is not None and (found.cpu, found.cores) == (cpu_name(), usable_cores())
    return found if same else None


def hosted_calibration() -> Calibration | None:
    """The calibration that the notebook made on the hosted machine; None if it was not given yet."""
    return _saved(HOSTED)


def read(path: Path) -> Calibration:
    """Read a calibration, as the notebook writes it. Raises DataMissingError or DataError."""
    if not path.is_file():
        raise DataMissingError(
            f"Calibration file not found: {path}",
            hint="Write the notebook that makes one, and run it on the hosted machine.",
            command=NOTEBOOK,
        )
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except msgspec.DecodeError as error:
        raise DataError(
            f"{path} is not a calibration: {error}", hint="Use the JSON that the notebook wrote."
        ) from error
    rates = (found.decode_frames_per_s_core, found.decode_frames_per_s_all, found.matmul_gflop_per_s, found.cores)
    if found.schema_version != SCHEMA_VERSION or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise DataError(
            f"{path}: every rate must be above 0, and the schema version {SCHEMA_VERSION}.",
            hint="Use the JSON that the notebook wrote.",
        )
    return found


def write_notebook(path: Path) -> None:
    """Write the notebook (nbformat 4) that measures the machine it runs on. Raises UsageError, OutputError."""
    if path.exists():
        raise UsageError(f"{path} exists already; nothing was written.", hint="Choose another name.")
    intro = (
        "# Calibration of the hosted machine\n\n"
        f"Run all cells on the accelerator that the competition uses, download the output `{OUT}`, and pass it to the "
        f"kit: `dfdc calibrate --use {OUT}`.\n\n"
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


def _saved(name: str) -> Calibration | None:
    path = cache_folder() / name
    return read(path) if path.is_file() else None
