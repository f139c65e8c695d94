"""This machine: what differs from the hosted one, and how much other programs disturbed a run."""

import hashlib
import os
import platform
import threading
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Self

import psutil

from dfdc_kit.harness.forecast.measure import gpu_name
from dfdc_kit.profiles import Profile
from dfdc_kit.report.run_report import EnvironmentDiff, Machine, Noise
from dfdc_kit.submission.packages import NOT_INSTALLED, distributions, unmet

PROBE_EVERY_S = 0.2
FEWEST_PROBES = 10  # fewer would show a single hiccup as the machine's spread
MOST_PROBES = 2000  # kept; in a longer run every second one is dropped
MOST_POINTS = 200  # of the load timeline
PROBE = bytes(1 << 18)  # to digest: takes 0.1 to 1 ms, without the interpreter lock


class NoiseWatch:
    """Measures, while the context is open, how much of the cores other programs use and how evenly the cores work.

    A small fixed piece of work is repeated and its CPU time measured: waiting for a core does not count, a lower clock
    and a shared cache do.
    """

    def __init__(self) -> None:
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        self._at, self._busy_s = _busy()
        self._probes: list[float] = []
        self._timeline: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="noise-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def noise(self, own_cpu_time_s: float | None) -> Noise:
        """The measurements so far; `own_cpu_time_s` is what the run itself used, None if not known."""
        return Noise(
            other_programs_share=None if own_cpu_time_s is None else self._other_programs_share(own_cpu_time_s),
            load_average_before=self._load,
            probes=len(self._probes),
            probe_cpu_s=_spread(self._probes.copy()),
            load_timeline=_averaged(self._timeline.copy()),
        )

    def noise_now(self) -> Noise:
        """The same while the run is going on, from the CPU time of its processes so far."""
        own_s = 0.0
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it ended meanwhile: its parent counts it
                spent = process.cpu_times()
                own_s += spent.user + spent.system + spent.children_user + spent.children_system
        return self.noise(own_s)

    def _other_programs_share(self, own_cpu_time_s: float) -> float:
        at, busy_s = _busy()
        others_s = busy_s - self._busy_s - own_cpu_time_s
        available_s = max((at - self._at) * (os.cpu_count() or 1), 1e-9)
        return min(max(others_s / available_s, 0.0), 1.0)

    def _repeat(self) -> None:
        every_s = PROBE_EVERY_S
        hashlib.sha256(PROBE)  # the first is slower: the cache is cold
        while not self._stop.wait(every_s):
            started = time.thread_time()
            hashlib.sha256(PROBE)
            self._probes.append(time.thread_time() - started)
            self._timeline.append((time.monotonic() - self._at, _runnable()))
            if len(self._probes) > MOST_PROBES:
                del self._probes[1::2], self._timeline[1::2]
                every_s *= 2


def machine(packages: tuple[str, ...]) -> Machine:
    """This machine, with the versions of `packages` and of numpy, and which of `packages` are not met."""
    versions = {package: _version(package) for package in sorted({"numpy", *distributions(packages)})}
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        cpu_cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        packages=versions,
        unmet_requirements=unmet(packages, versions),
    )


def _spread(probes: list[float]) -> tuple[float, float, float] | None:
    """The 5 %, 50 % and 95 % quantile, in seconds; None for too few probes."""
    if len(probes) < FEWEST_PROBES:
        return None
    ordered, last = sorted(probes), len(probes) - 1
    return ordered[round(0.05 * last)], ordered[round(0.5 * last)], ordered[round(0.95 * last)]


def _averaged(timeline: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The timeline in at most MOST_POINTS points, each the mean of neighbours."""
    step = -(-len(timeline) // MOST_POINTS) or 1
    parts = [timeline[first : first + step] for first in range(0, len(timeline), step)]
    return [tuple(round(sum(values) / len(part), 3) for values in zip(*part, strict=True)) for part in parts]


def _runnable() -> float:
    """How many threads run or wait for a core now; Linux only, elsewhere the load average."""
    try:
        return float(Path("/proc/loadavg").read_text("ascii").split()[3].split("/")[0])
    except (OSError, ValueError, IndexError):
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _busy() -> tuple[float, float]:
    """Monotonic time, and the CPU seconds that all cores have worked or were taken by other virtual machines."""
    spent = psutil.cpu_times()
    stolen = getattr(spent, "steal", 0.0)  # Linux only
    return time.monotonic(), float(spent.user + spent.system + spent.nice + stolen)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


GIB = 2**30
TIMES = "times: they are this machine's"
PREDICTIONS = "predictions: another version may compute different ones"


def environment_diffs(profile: Profile, machine: Machine) -> list[EnvironmentDiff]:
    """Differences between `machine` and the hosted one; only what `profile` states is compared."""
    hardware, found = profile.hardware, []

    def differs(what: str, local: str, hosted: str, affects: str) -> None:
        found.append(EnvironmentDiff(what=what, local=local, hosted=hosted, affects=affects))

    if hardware.cpu_cores is not None and hardware.cpu_cores != machine.cpu_cores:
        differs("CPU cores", str(machine.cpu_cores), str(hardware.cpu_cores), TIMES)
    limit = profile.limits.memory_bytes
    if limit is not None and machine.memory_bytes < limit:
        local, hosted = f"{machine.memory_bytes / GIB:.0f} GiB", f"{limit / GIB:.0f} GiB"
        differs("memory", local, hosted, "the memory limit: it cannot be reached here")
    local_gpu, hosted_gpu = gpu_name() or "none", hardware.gpu or "none"
    if hosted_gpu != local_gpu:
        differs("GPU", local_gpu, hosted_gpu, f"{TIMES}; GPU memory is not tested here" if hardware.gpu else TIMES)
    versions = {"python": machine.python, **machine.packages}
    for name, hosted_version in profile.software.items():
        if name in versions and _release(versions[name]) != _release(hosted_version):
            differs(name, versions[name], hosted_version, PREDICTIONS)
    return found


def _release(version: str) -> tuple[str, ...]:
    """Major and minor number; patch releases are expected to compute the same."""
    return tuple(version.split("+")[0].split(".")[:2])
