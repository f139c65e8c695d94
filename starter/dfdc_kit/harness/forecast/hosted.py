"""From a projection on this machine to one on the hosted machine: by measured ratios, as an interval, or not at all."""

import re

import msgspec
from msgspec import structs

from dfdc_kit.formatting import plural
from dfdc_kit.harness.forecast.calibration import Calibration, Constants, GpuConstant
from dfdc_kit.profiles import Hardware
from dfdc_kit.report.run_report import Projection

MARGIN = 0.15  # ours: clock boost, neighbours on the host, slower disks; applied to every measured ratio
ONE_CORE = 1.15  # busy cores up to which a program is taken to run on one
NOTEBOOK = "dfdc calibrate --notebook hosted.ipynb"

Range = tuple[float, float]  # least, most


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ran here, as far as it matters elsewhere."""

    busy_cores: float | None  # CPU time over wall time; None: not known
    cores: int  # of this machine
    gpu_declared: bool  # its submission.toml says gpu = true
    gpu: str  # name of the GPU here; empty: none, so the program ran on the CPU


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds there for one second here, least and most; None with the reason why it cannot be said."""

    seconds: Range | None
    refused: str
    constants: list[str]  # with source and date


def time_ratio(
    work: Work, hardware: Hardware, here: Calibration | None, there: Calibration | None, known: Constants
) -> Ratio:
    """How many seconds on the hosted machine one second here is worth.

    CPU work: by the speed of a core (decoding and matrices, measured on both; else the published interval) and the
    number of cores. GPU work: by compute and bandwidth of both GPUs. The parts cannot be told apart from outside,
    so the result spans both. Time of a model that ran on a CPU says nothing about a GPU: refused.
    """
    speed, sources = core_speed(here, there, known)
    ratio = _cpu_ratio(work, hardware.cpu_cores or work.cores, speed)
    if not work.gpu_declared:
        return Ratio(seconds=ratio, refused="", constants=sources)
    if not hardware.gpu:
        return Ratio(seconds=None, refused="it asks for a GPU, and the hosted machine has none", constants=sources)
    if not work.gpu:
        why = "it asks for a GPU and ran on a CPU here; the time of its model there cannot be known from that"
        return Ratio(seconds=None, refused=why, constants=sources)
    mine, theirs = _gpu(work.gpu, known), _gpu(hardware.gpu, known)
    if mine is None or theirs is None:
        unknown = work.gpu if mine is None else hardware.gpu
        return Ratio(seconds=None, refused=f"there are no constants for the GPU {unknown}", constants=sources)
    graphics = _gpu_ratio(mine, theirs)
    sources = [*sources, *(f"{gpu.source} ({gpu.as_of})" for gpu in (mine, theirs))]
    return Ratio(seconds=_hull(ratio, graphics), refused="", constants=sources)


def project_hosted(projection: Projection, seconds: Range) -> Projection:
    """The projection here, in the seconds of the hosted machine: the range grows at both ends."""
    least, most = seconds
    return Projection(
        videos=projection.videos,
        low_s=projection.low_s * least,
        median_s=projection.median_s * (least * most) ** 0.5,
        high_s=None if projection.high_s is None else projection.high_s * most,
        trend=projection.trend,
    )


def core_speed(here: Calibration | None, there: Calibration | None, known: Constants) -> tuple[Range, list[str]]:
    """Speed of a hosted core in units of a core here, (least, most), and where that comes from."""
    if here is None or there is None:
        missing = "no constant for the hosted machine" if there is None else "this machine was not measured"
        said = f"{missing}; core speed {known.cpu.core_speed[0]:g} to {known.cpu.core_speed[1]:g} times one here"
        return known.cpu.core_speed, [f"{said}: {known.cpu.source} ({known.cpu.as_of})"]
    ratios = (
        there.decode_frames_per_s_core / here.decode_frames_per_s_core,
        there.decode_frames_per_s_all / there.cores / (here.decode_frames_per_s_all / here.cores),
        there.matmul_gflop_per_s / there.cores / (here.matmul_gflop_per_s / here.cores),
    )
    sources = [_told("hosted", there), _told("here", here)]
    return (min(ratios) * (1 - MARGIN), max(ratios) * (1 + MARGIN)), sources


def decoding_s(
    videos: int, cores: int, here: Calibration | None, there: Calibration | None, known: Constants
) -> Range | None:
    """Decoding every frame of `videos` typical videos on all hosted cores, in seconds; None if nothing was measured."""
    frames = videos * known.video.frames
    if there is not None:
        single = frames / (there.decode_frames_per_s_core * cores)
        together = frames / (there.decode_frames_per_s_all / there.cores * cores)
        return min(single, together) * (1 - MARGIN), max(single, together) * (1 + MARGIN)
    if here is None:
        return None
    (slow, fast), _ = core_speed(here, there, known)
    alone = frames / (here.decode_frames_per_s_core * cores)
    return alone / fast, alone / slow


def _cpu_ratio(work: Work, cores: int, speed: Range) -> Range:
    slow, fast = speed
    if work.busy_cores is None:  # whatever it was
        extremes = [structs.replace(work, busy_cores=busy) for busy in (0.0, float(work.cores))]
        return _hull(*(_cpu_ratio(extreme, cores, speed) for extreme in extremes))
    if work.busy_cores <= ONE_CORE:
        idle = max(0.0, 1 - work.busy_cores)  # waiting takes as long anywhere, as far as we know
        return (1 - idle) / fast + idle, (1 - idle) / slow + idle
    share = work.busy_cores / work.cores  # worst: all cores at once for this share of the time, none else
    most = (1 - share + share * max(1.0, work.cores / cores)) / slow
    return min(1.0, work.cores / cores) / fast, most  # best: more cores are all put to use


def _gpu_ratio(here: GpuConstant, there: GpuConstant) -> Range:
    """By single precision, half precision and bandwidth, as which of them binds is not seen from outside."""
    pairs = (
        (here.single_tflop_per_s, there.single_tflop_per_s),
        (here.half_tflop_per_s, there.half_tflop_per_s),
        (here.memory_gb_per_s, there.memory_gb_per_s),
    )
    return min(mine[0] / theirs[1] for mine, theirs in pairs), max(mine[1] / theirs[0] for mine, theirs in pairs)


def _gpu(name: str, known: Constants) -> GpuConstant | None:
    return next((gpu for key, gpu in known.gpu.items() if re.search(rf"\b{re.escape(key)}\b", name)), None)


def _hull(first: Range, second: Range) -> Range:
    return min(first[0], second[0]), max(first[1], second[1])


def _told(where: str, machine: Calibration) -> str:
    return (
        f"{where}: {machine.decode_frames_per_s_core:.0f} frames/s a core at 1080p, {plural(machine.cores, 'core')}, "
        f"{machine.cpu} ({machine.source} {machine.measured[:10]})"
    )
