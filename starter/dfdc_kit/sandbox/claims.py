"""What becomes of the limits that supervision itself keeps, in whatever backend."""

from collections.abc import Iterator

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import ENFORCED, NOT_ENFORCED, WATCHED, Enforcement
from dfdc_kit.sandbox.mechanisms import cores, file_bytes, why_not
from dfdc_kit.sandbox.watching.gpu import NO_CARD, find
from dfdc_kit.sandbox.watching.watchdog import SAMPLE_S, SLOW_SAMPLE_S


def supervised(limits: Limits) -> Iterator[Enforcement]:
    """The claim on each limit that is set."""
    sampled = f"sampled every {SAMPLE_S:g} s, then killed"
    if limits.wall_time_s is not None:
        yield Enforcement(
            limit="wall_time", status=ENFORCED, how="the supervisor's monotonic clock; the whole tree is killed"
        )
    if limits.cpu_cores is not None:
        yield _cores(limits)
    if limits.memory_bytes is not None:
        yield Enforcement(limit="memory", status=WATCHED, how=f"of the whole tree, {sampled}")
    if limits.gpu_memory_bytes is not None:
        yield _graphics()
    if limits.processes is not None:
        yield Enforcement(limit="processes", status=WATCHED, how=f"processes and threads of the whole tree, {sampled}")
    if limits.output_bytes is not None:
        largest = file_bytes(limits)  # the larger of two limits: the kernel does not know the folders apart
        how = f"one file: {largest / 2**30:.3g} GiB by RLIMIT_FSIZE; all together sampled every {SLOW_SAMPLE_S:g} s"
        yield Enforcement(limit="output", status=WATCHED, how=how)
    if limits.scratch_bytes is not None:
        how = f"all temporary files together sampled every {SLOW_SAMPLE_S:g} s"
        yield Enforcement(limit="scratch", status=WATCHED, how=how)
    if limits.log_bytes is not None:
        yield Enforcement(limit="log", status=ENFORCED, how="what is over is counted and dropped")


def _graphics() -> Enforcement:
    cards, reason = find()
    if cards:
        how = f"of the whole tree, on each card, by NVML, sampled every {SLOW_SAMPLE_S:g} s, then killed"
        return Enforcement(limit="gpu_memory", status=WATCHED, how=how)
    if reason == NO_CARD:
        return Enforcement(limit="gpu_memory", status=ENFORCED, how=f"{reason}: none can be used")
    return Enforcement(limit="gpu_memory", status=NOT_ENFORCED, how=reason)


def _cores(limits: Limits) -> Enforcement:
    given = len(cores(limits))
    few = f"; this machine has {given}, fewer than the limit of {limits.cpu_cores}" * (given < (limits.cpu_cores or 0))
    if reason := why_not("filter"):
        how = f"set at the start, but the program can undo it: no filter of system calls here ({reason}){few}"
        return Enforcement(limit="cpu_cores", status=NOT_ENFORCED, how=how)
    how = f"allowed on {given} cores; a filter of system calls keeps it there{few}"
    return Enforcement(limit="cpu_cores", status=ENFORCED, how=how)
