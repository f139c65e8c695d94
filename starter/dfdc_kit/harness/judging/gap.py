"""The gap between this machine and the hosted one, and which statements of a report it weakens."""

from dfdc_kit.harness.forecast.measure import gpu_name
from dfdc_kit.profiles import Profile
from dfdc_kit.report.run_report import Gap, Machine

GIB = 2**30
TIME = "times: they are this machine's"
RESULTS = "predictions: another version may compute other ones"


def gaps(profile: Profile, machine: Machine) -> list[Gap]:
    """Where the hosted machine of `profile` is another than `machine`; only what the profile states is compared."""
    hosted = profile.hardware
    found = []
    if hosted.cpu_cores is not None and hosted.cpu_cores != machine.cpu_cores:
        found.append(Gap(what="CPU cores", here=str(machine.cpu_cores), there=str(hosted.cpu_cores), weakens=TIME))
    limit = profile.limits.memory_bytes
    if limit is not None and machine.memory_bytes < limit:
        here, there = f"{machine.memory_bytes / GIB:.0f} GiB", f"{limit / GIB:.0f} GiB"
        found.append(Gap(what="memory", here=here, there=there, weakens="the memory limit: it cannot be reached here"))
    here_gpu = gpu_name() or "none"
    if (hosted.gpu or "none") != here_gpu:
        weakens = f"{TIME}; GPU memory is not tried here" if hosted.gpu else TIME
        found.append(Gap(what="GPU", here=here_gpu, there=hosted.gpu or "none", weakens=weakens))
    versions = {"python": machine.python, **machine.packages}
    for name, there in profile.software.items():
        if name in versions and _release(versions[name]) != _release(there):
            found.append(Gap(what=name, here=versions[name], there=there, weakens=RESULTS))
    return found


def _release(version: str) -> tuple[str, ...]:
    """Major and minor number: a patch release is expected to compute the same."""
    return tuple(version.split("+")[0].split(".")[:2])
