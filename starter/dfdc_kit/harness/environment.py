"""This machine, and how noisy it was while a run was going on."""

import hashlib
import os
import platform
import threading
import time
from contextlib import suppress
from importlib import metadata
from typing import Self

import psutil

from dfdc_kit.harness.forecast.calibration import gpu_name
from dfdc_kit.profiles import Profile
from dfdc_kit.report.run_report import EnvironmentDiff, Machine, Noise
from dfdc_kit.submission.packages import NOT_INSTALLED, distributions, unmet

PACE_EVERY_S = 0.2
ENOUGH_PACES = 10  # fewer show a single hiccup as if it were the machine
PIECE = bytes(1 << 18)  # to be digested: about a tenth of a millisecond to one, and no lock is held meanwhile
MOST_PACES = 2000  # kept; in a longer run every second one goes


class NoiseWatch:
    """Measures, while the context is open, what other programs take of the cores and how evenly the cores work.

    The same small piece of work is done again and again, and its CPU time taken: waiting for a core does not count in
    it, a lower clock and a shared cache do.
    """

    def __init__(self) -> None:
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        self._at, self._busy_s = _busy()
        self._paces: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="noise-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def noise(self, own_cpu_time_s: float | None) -> Noise:
        """What was measured so far; `own_cpu_time_s` is what the run itself used, None if that is not known."""
        return Noise(
            others_share=None if own_cpu_time_s is None else self._others_share(own_cpu_time_s),
            load_before=self._load,
            paces=len(self._paces),
            pace_s=_spread(self._paces.copy()),
        )

    def noise_now(self) -> Noise:
        """The same while the run is going on: its processes are asked what they have used."""
        own_s = 0.0
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it ended meanwhile, and its parent counts it
                spent = process.cpu_times()
                own_s += spent.user + spent.system + spent.children_user + spent.children_system
        return self.noise(own_s)

    def _others_share(self, own_cpu_time_s: float) -> float:
        at, busy_s = _busy()
        others_s = busy_s - self._busy_s - own_cpu_time_s
        there_were_s = max((at - self._at) * (os.cpu_count() or 1), 1e-9)
        return min(max(others_s / there_were_s, 0.0), 1.0)

    def _repeat(self) -> None:
        every_s = PACE_EVERY_S
        hashlib.sha256(PIECE)  # the first is slower: the cache is cold
        while not self._stop.wait(every_s):
            started = time.thread_time()
            hashlib.sha256(PIECE)
            self._paces.append(time.thread_time() - started)
            if len(self._paces) > MOST_PACES:
                del self._paces[1::2]
                every_s *= 2


def machine(packages: tuple[str, ...]) -> Machine:
    """This machine, with the versions of `packages` and of numpy, and which of `packages` are not as they should be."""
    versions = {package: _version(package) for package in sorted({"numpy", *distributions(packages)})}
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        cpu_cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        packages=versions,
        unmet=unmet(packages, versions),
    )


def _spread(paces: list[float]) -> tuple[float, float, float] | None:
    """The 5 %, 50 % and 95 % quantile, in seconds; None for too few paces."""
    if len(paces) < ENOUGH_PACES:
        return None
    ordered, last = sorted(paces), len(paces) - 1
    return ordered[round(0.05 * last)], ordered[round(0.5 * last)], ordered[round(0.95 * last)]


def _busy() -> tuple[float, float]:
    """Monotonic time, and the processor seconds that all cores have spent working, or were taken by other machines."""
    spent = psutil.cpu_times()
    stolen = getattr(spent, "steal", 0.0)  # by the neighbours of a virtual machine; Linux only
    return time.monotonic(), float(spent.user + spent.system + spent.nice + stolen)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


GIB = 2**30
TIME = "times: they are this machine's"
RESULTS = "predictions: another version may compute other ones"


def environment_diffs(profile: Profile, machine: Machine) -> list[EnvironmentDiff]:
    """Where the hosted machine of `profile` is another than `machine`; only what the profile states is compared."""
    hosted = profile.hardware
    found = []
    if hosted.cpu_cores is not None and hosted.cpu_cores != machine.cpu_cores:
        found.append(
            EnvironmentDiff(what="CPU cores", here=str(machine.cpu_cores), there=str(hosted.cpu_cores), weakens=TIME)
        )
    limit = profile.limits.memory_bytes
    if limit is not None and machine.memory_bytes < limit:
        here, there = f"{machine.memory_bytes / GIB:.0f} GiB", f"{limit / GIB:.0f} GiB"
        found.append(
            EnvironmentDiff(
                what="memory", here=here, there=there, weakens="the memory limit: it cannot be reached here"
            )
        )
    here_gpu = gpu_name() or "none"
    if (hosted.gpu or "none") != here_gpu:
        weakens = f"{TIME}; GPU memory is not tried here" if hosted.gpu else TIME
        found.append(EnvironmentDiff(what="GPU", here=here_gpu, there=hosted.gpu or "none", weakens=weakens))
    versions = {"python": machine.python, **machine.packages}
    for name, there in profile.software.items():
        if name in versions and _release(versions[name]) != _release(there):
            found.append(EnvironmentDiff(what=name, here=versions[name], there=there, weakens=RESULTS))
    return found


def _release(version: str) -> tuple[str, ...]:
    """Major and minor number: a patch release is expected to compute the same."""
    return tuple(version.split("+")[0].split(".")[:2])
