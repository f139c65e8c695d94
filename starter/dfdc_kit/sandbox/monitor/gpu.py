"""NVIDIA graphics cards, asked through NVML (package nvidia-ml-py): what a process tree holds there, how busy they are.

Memory is watched, not capped: NVML cannot cap it. On the hosted machine a program that wants more than there is gets an
out-of-memory error of CUDA's; on a larger card here it would pass unseen.
"""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from dfdc_kit.sandbox.base import GpuUsage

NO_CARD = "there is no NVIDIA card on this machine"
NODES = "nvidia[0-9]*"  # of /dev, one a card
PACKAGE = "nvidia-ml-py"


class Cards:
    """The cards of this machine, through an initialised `nvml` (the module pynvml)."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.error: type[Exception] = nvml.NVMLError
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        self.names = [_text(nvml.nvmlDeviceGetName(handle)) for handle in self._handles]

    def used_bytes(self) -> list[int]:
        """Memory in use on each card, whoever holds it. Raises NVMLError, as all that asks the driver does."""
        return [int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in self._handles]

    def held_bytes(self, pids: set[int]) -> list[int | None]:
        """Memory that the processes `pids` hold on each card; None where the driver does not tell it by process."""
        return [_held(self._running(handle), pids) for handle in self._handles]

    def _running(self, handle: Any) -> dict[int, int | None]:
        """Process -> bytes that it holds, of all that compute or draw on a card."""
        drawing = self._nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)
        computing = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return {process.pid: process.usedGpuMemory for process in (*drawing, *computing)}

    def busy_share(self) -> float | None:
        """How busy the busiest card was in the driver's last period (up to a second), 0 to 1; None where it won't say,
        as of a card that is parted into several.
        """
        try:
            return max(float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100 for handle in self._handles)
        except self.error:
            return None


class GpuWatch:
    """Samples the cards for one run. What it sees is a lower bound."""

    def __init__(self, cards: Cards) -> None:
        self._cards = cards
        self._before: list[int] = []  # in use on each card before the run
        with suppress(cards.error):
            self._before = cards.used_bytes()
        self._peak_bytes, self._samples = 0, 0
        self._busy: list[float] = []

    def sample(self, pids: set[int]) -> int:
        """The most memory that `pids` hold on one card now, in bytes; 0 if the driver does not answer.

        Where the driver does not tell it by process, what the card holds more than before the run counts: other
        programs' memory, too.
        """
        try:
            used, own = self._cards.used_bytes(), self._cards.held_bytes(pids)
        except self._cards.error:
            return 0
        self._before = self._before or used
        grown = [now - before for now, before in zip(used, self._before, strict=True)]
        held = [more if size is None else size for size, more in zip(own, grown, strict=True)]
        self._peak_bytes = max(self._peak_bytes, *held)
        self._samples += 1
        if (busy := self._cards.busy_share()) is not None:
            self._busy.append(busy)
        return max(held)

    def usage(self) -> GpuUsage:
        """All samples, summed up."""
        return GpuUsage(
            cards=self._cards.names,
            peak_memory_bytes=self._peak_bytes,
            busy_share=sum(self._busy) / len(self._busy) if self._busy else None,
            samples=self._samples,
        )


@cache
def find() -> tuple[Cards | None, str]:
    """The cards of this machine; or None and why there are none to be watched (NO_CARD if there are none at all)."""
    if not any(Path("/dev").glob(NODES)):
        return None, NO_CARD
    try:
        import pynvml
    except ImportError:
        return None, f"{PACKAGE} is not installed: pip install {PACKAGE}"
    try:
        pynvml.nvmlInit()
        cards = Cards(pynvml)
        if cards.names:
            cards.used_bytes()
            cards.held_bytes(set())
    except pynvml.NVMLError as error:
        return None, f"NVML does not work: {error}"
    return (cards, "") if cards.names else (None, NO_CARD)


def _held(running: dict[int, int | None], pids: set[int]) -> int | None:
    """Bytes that `pids` hold, of the processes that run on a card; None if the driver names ours without a size, or
    nobody that is known here: its numbers are those of another namespace, or it lists none.
    """
    if not any(Path(f"/proc/{pid}").exists() for pid in running):
        return None
    sizes = [running[pid] for pid in pids & running.keys()]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
