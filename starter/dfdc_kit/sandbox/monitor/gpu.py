"""NVIDIA GPUs through NVML (package nvidia-ml-py): the memory that a process tree holds there, and their utilization.

Memory is watched, not capped: NVML cannot cap it. On the hosted machine a program that needs more than the GPU has gets
CUDA's out-of-memory error; on a larger GPU here that would go unnoticed.
"""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from dfdc_kit.sandbox.base import GpuUsage

NO_GPU = "this machine has no NVIDIA GPU"
NODES = "nvidia[0-9]*"  # in /dev, one per GPU
PACKAGE = "nvidia-ml-py"


class Gpus:
    """The GPUs of this machine, through an initialised `nvml` (the module pynvml)."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.error: type[Exception] = nvml.NVMLError
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        self.names = [_text(nvml.nvmlDeviceGetName(handle)) for handle in self._handles]

    def used_bytes(self) -> list[int]:
        """Memory in use on each GPU, by whatever process. Raises NVMLError, as every query does."""
        return [int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in self._handles]

    def held_bytes(self, pids: set[int]) -> list[int | None]:
        """Memory that the processes `pids` hold on each GPU; None where the driver does not report it per process."""
        return [_held(self._running(handle), pids) for handle in self._handles]

    def _running(self, handle: Any) -> dict[int, int | None]:
        """Bytes held by process id, for every process that computes or renders on a GPU."""
        rendering = self._nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)
        computing = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return {process.pid: process.usedGpuMemory for process in (*rendering, *computing)}

    def busy_share(self) -> float | None:
        """Utilization, 0 to 1, of the busiest GPU in the driver's last period (up to a second).

        None where the driver does not report it, as for a GPU partitioned by MIG.
        """
        try:
            return max(float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100 for handle in self._handles)
        except self.error:
            return None


class GpuWatch:
    """Samples the GPUs during one run. Its figures are lower bounds."""

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus
        self._before: list[int] = []  # in use on each GPU before the run
        with suppress(gpus.error):
            self._before = gpus.used_bytes()
        self._peak_bytes, self._samples = 0, 0
        self._busy: list[float] = []

    def sample(self, pids: set[int]) -> int:
        """The most memory that `pids` hold on one GPU now, in bytes; 0 if the driver does not answer.

        Where the driver does not report it per process, the growth since before the run counts, which includes other
        programs.
        """
        try:
            used, own = self._gpus.used_bytes(), self._gpus.held_bytes(pids)
        except self._gpus.error:
            return 0
        self._before = self._before or used
        grown = [now - before for now, before in zip(used, self._before, strict=True)]
        held = [more if size is None else size for size, more in zip(own, grown, strict=True)]
        self._peak_bytes = max(self._peak_bytes, *held)
        self._samples += 1
        if (busy := self._gpus.busy_share()) is not None:
            self._busy.append(busy)
        return max(held)

    def usage(self) -> GpuUsage:
        """The summary of all samples."""
        return GpuUsage(
            cards=self._gpus.names,
            peak_memory_bytes=self._peak_bytes,
            busy_share=sum(self._busy) / len(self._busy) if self._busy else None,
            samples=self._samples,
        )


@cache
def find_gpus() -> tuple[Gpus | None, str]:
    """The GPUs of this machine; or None, and why none can be watched (NO_GPU if there is none)."""
    if not any(Path("/dev").glob(NODES)):
        return None, NO_GPU
    try:
        import pynvml
    except ImportError:
        return None, f"{PACKAGE} is not installed: pip install {PACKAGE}"
    try:
        pynvml.nvmlInit()
        gpus = Gpus(pynvml)
        if gpus.names:
            gpus.used_bytes()
            gpus.held_bytes(set())
    except pynvml.NVMLError as error:
        return None, f"NVML does not work: {error}"
    return (gpus, "") if gpus.names else (None, NO_GPU)


def _held(running: dict[int, int | None], pids: set[int]) -> int | None:
    """Bytes that `pids` hold, of the processes `running` on a GPU.

    None if the driver gives no size for one of ours, or lists no process that exists here: it lists none at all, or
    numbers them in another PID namespace.
    """
    if not any(Path(f"/proc/{pid}").exists() for pid in running):
        return None
    sizes = [running[pid] for pid in pids & running.keys()]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
