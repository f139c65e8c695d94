"""This machine, and how busy others kept it while a run was going on."""

import os
import platform
import time
from importlib import metadata

import psutil

from dfdc_kit.report.run_report import Machine


class OthersWatch:
    """Measures what other programs take of the cores between `start` and `share`."""

    def __init__(self) -> None:
        self._at, self._busy_s = _busy()

    def share(self, own_cpu_time_s: float) -> float:
        """The share of all cores' time since the start that was neither idle nor `own_cpu_time_s`; 0 to 1."""
        at, busy_s = _busy()
        others_s = busy_s - self._busy_s - own_cpu_time_s
        there_were_s = max((at - self._at) * (os.cpu_count() or 1), 1e-9)
        return min(max(others_s / there_were_s, 0.0), 1.0)


def machine(packages: tuple[str, ...]) -> Machine:
    """This machine, with the versions of `packages` and of numpy."""
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        cpu_cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        packages={package: _version(package) for package in sorted({"numpy", *packages})},
    )


def _busy() -> tuple[float, float]:
    """Monotonic time, and the processor seconds that all cores have spent working."""
    spent = psutil.cpu_times()
    return time.monotonic(), float(spent.user + spent.system + spent.nice)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
