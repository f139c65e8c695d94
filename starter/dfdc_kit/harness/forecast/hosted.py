"""From a projection on this machine to one on the hosted machine, by an interval of speed ratios."""

import re

import msgspec
from msgspec import structs

from dfdc_kit.formatting import plural
from dfdc_kit.harness.forecast.calibration import Calibration, Constants, GpuConstant
from dfdc_kit.profiles import Hardware
from dfdc_kit.report.run_report import Projection

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
