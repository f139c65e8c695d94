"""Measured speeds of this machine and the hosted one, kept in the user's cache folder, and published constants.

From them comes an interval of speed ratios, by which a projection on this machine becomes one on the hosted machine.
"""

import math
import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from dfdc_kit.errors import DataError, DataMissingError, KitError, OutputError, UsageError
from dfdc_kit.files import PACKAGE, cache_folder, write_json
from dfdc_kit.formatting import plural
from dfdc_kit.harness.forecast.measure import OUT, SCHEMA_VERSION, cpu_name, measure, usable_cores
from dfdc_kit.profiles import Hardware
from dfdc_kit.report.run_report import Projection
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


# ---------------------------------------------------------------------------------- from this machine to the hosted one

MARGIN = 0.15  # our assumption for clock boost, neighbours and disks; widens every measured ratio
ONE_CORE = 1.15  # busy cores up to which a program counts as single-threaded
NOT_MEASURED = "Measure it: dfdc calibrate --notebook"
LOCAL_NOT_MEASURED = "Measure this machine: dfdc calibrate"

Range = tuple[float, float]  # least, most


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """How a program used this machine."""

    busy_cores: float | None  # CPU time over wall time; None: not known
    cores: int  # of this machine
    gpu_declared: bool  # its submission.toml says gpu = true
    gpu: str  # name of the local GPU; empty: none, so the program ran on the CPU


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Hosted seconds per local second, least and most; None, with a reason, where it cannot be estimated."""

    seconds: Range | None
    refused: str
    constants: list[str]  # with source and date


def time_ratio(
    work: Work, hardware: Hardware, local: Calibration | None, hosted: Calibration | None, known: Constants
) -> Ratio:
    """How many seconds on the hosted machine correspond to one second here.

    CPU work scales with the speed of a core (measured on both machines, else the published interval) and the number
    of cores, GPU work with compute and bandwidth of both GPUs. CPU and GPU work look the same from outside, so the
    interval covers both. The time of a model on a CPU says nothing about a GPU: no ratio.
    """
    speed, sources = core_speed(local, hosted, known)
    ratio = _cpu_ratio(work, hardware.cpu_cores or work.cores, speed)
    if not work.gpu_declared:
        return Ratio(seconds=ratio, refused="", constants=sources)
    if not hardware.gpu:
        return Ratio(
            seconds=None, refused="the submission asks for a GPU, and the hosted machine has none", constants=sources
        )
    if not work.gpu:
        why = "the submission asks for a GPU and ran on a CPU here"
        return Ratio(seconds=None, refused=why, constants=sources)
    ours, theirs = _gpu(work.gpu, known), _gpu(hardware.gpu, known)
    if ours is None or theirs is None:
        unknown = work.gpu if ours is None else hardware.gpu
        return Ratio(seconds=None, refused=f"the speed of the GPU {unknown} is not known", constants=sources)
    graphics = _gpu_ratio(ours, theirs)
    sources = [*sources, *(f"{gpu.source} ({gpu.as_of})" for gpu in (ours, theirs))]
    return Ratio(seconds=_union(ratio, graphics), refused="", constants=sources)


def project_hosted(projection: Projection, seconds: Range) -> Projection:
    """A local projection in hosted seconds; the interval of ratios widens it at both ends."""
    least, most = seconds
    return Projection(
        videos=projection.videos,
        low_s=projection.low_s * least,
        median_s=projection.median_s * (least * most) ** 0.5,
        high_s=None if projection.high_s is None else projection.high_s * most,
        trend=projection.trend,
    )


def core_speed(local: Calibration | None, hosted: Calibration | None, known: Constants) -> tuple[Range, list[str]]:
    """Speed of a hosted core relative to a local one, (least, most), and the sources."""
    if local is None or hosted is None:
        least, most = known.cpu.core_speed
        assumed = f"a hosted core is {least:g} to {most:g} times as fast as one here"
        missing = NOT_MEASURED if hosted is None else LOCAL_NOT_MEASURED
        return known.cpu.core_speed, [f"{assumed}: {known.cpu.source} ({known.cpu.as_of}). {missing}"]
    ratios = (
        hosted.decode_frames_per_s_core / local.decode_frames_per_s_core,
        hosted.decode_frames_per_s_all / hosted.cores / (local.decode_frames_per_s_all / local.cores),
        hosted.matmul_gflop_per_s / hosted.cores / (local.matmul_gflop_per_s / local.cores),
    )
    sources = [_describe("hosted", hosted), _describe("here", local)]
    return (min(ratios) * (1 - MARGIN), max(ratios) * (1 + MARGIN)), sources


def decoding_s(
    videos: int, cores: int, local: Calibration | None, hosted: Calibration | None, known: Constants
) -> Range | None:
    """Seconds to decode every frame of `videos` typical videos on all hosted cores; None if nothing was measured."""
    frames = videos * known.video.frames
    if hosted is not None:
        single = frames / (hosted.decode_frames_per_s_core * cores)
        together = frames / (hosted.decode_frames_per_s_all / hosted.cores * cores)
        return min(single, together) * (1 - MARGIN), max(single, together) * (1 + MARGIN)
    if local is None:
        return None
    (slow, fast), _ = core_speed(local, hosted, known)
    alone = frames / (local.decode_frames_per_s_core * cores)
    return alone / fast, alone / slow


def _cpu_ratio(work: Work, cores: int, speed: Range) -> Range:
    slow, fast = speed
    if work.busy_cores is None:  # unknown: the interval covers all cases
        extremes = [structs.replace(work, busy_cores=busy) for busy in (0.0, float(work.cores))]
        return _union(*(_cpu_ratio(extreme, cores, speed) for extreme in extremes))
    if work.busy_cores <= ONE_CORE:
        idle = max(0.0, 1 - work.busy_cores)  # waiting takes as long on any machine
        return (1 - idle) / fast + idle, (1 - idle) / slow + idle
    share = work.busy_cores / work.cores  # worst: all cores busy for this share of the time
    most = (1 - share + share * max(1.0, work.cores / cores)) / slow
    return min(1.0, work.cores / cores) / fast, most  # best: the program uses all cores


def _gpu_ratio(local: GpuConstant, hosted: GpuConstant) -> Range:
    """Covers single precision, half precision and bandwidth: which one limits a program is not visible from outside."""
    pairs = (
        (local.single_tflop_per_s, hosted.single_tflop_per_s),
        (local.half_tflop_per_s, hosted.half_tflop_per_s),
        (local.memory_gb_per_s, hosted.memory_gb_per_s),
    )
    return min(ours[0] / theirs[1] for ours, theirs in pairs), max(ours[1] / theirs[0] for ours, theirs in pairs)


def _gpu(name: str, known: Constants) -> GpuConstant | None:
    return next((gpu for key, gpu in known.gpu.items() if re.search(rf"\b{re.escape(key)}\b", name)), None)


def _union(first: Range, second: Range) -> Range:
    return min(first[0], second[0]), max(first[1], second[1])


def _describe(where: str, machine: Calibration) -> str:
    return (
        f"{where}: {machine.decode_frames_per_s_core:.0f} frames/s a core at 1080p, {plural(machine.cores, 'core')}, "
        f"{machine.cpu} ({machine.source} {machine.measured[:10]})"
    )
