"""GPUs are watched through NVML; here a fake that behaves as the package pynvml."""

import os
import sys
from types import SimpleNamespace

import psutil
import pytest

from dfdc_kit import profiles
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import BACKENDS, enforcement
from dfdc_kit.sandbox.base import Ending, Job
from dfdc_kit.sandbox.monitor import gpu
from dfdc_kit.sandbox.monitor.gpu import Gpus, GpuWatch

MIB, GIB = 1 << 20, 1 << 30
ONE, TWO, OTHER = os.getpid(), os.getppid(), 1  # existing processes
UNKNOWN_PID = 1 << 30  # a number of no process here


class FakeNvml:
    """Two GPUs; `running` holds (pid, bytes or None) by GPU."""

    class NVMLError(Exception):
        pass

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.running: list[list[tuple[int, int | None]]] = [[], []]
        self.used = [GIB, GIB]
        self.busy = [0, 0]
        self.drawing: list[int] = []
        self.partitioned = self.silent = False

    def nvmlInit(self):  # noqa: N802
        if self.broken:
            raise self.NVMLError(self.broken)

    def nvmlDeviceGetCount(self):  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return b"Tesla T4"  # older releases give bytes

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        return SimpleNamespace(used=self.used[handle])

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        if self.partitioned:
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(gpu=self.busy[handle])

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        if self.silent:
            raise self.NVMLError("GPU is lost")
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in self.running[handle]]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle):  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=MIB) for pid in self.drawing]


@pytest.fixture
def nvml(monkeypatch):
    """A machine with two GPUs and the package pynvml."""

    def make(**how) -> FakeNvml:
        fake = FakeNvml(**how)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        monkeypatch.setattr(gpu, "NODES", "null")  # a device that every machine has
        gpu.find_gpus.cache_clear()
        return fake

    yield make
    gpu.find_gpus.cache_clear()


def claim(limits: Limits) -> tuple[str, str]:
    return next((c.status, c.how) for c in enforcement.supervised_limits(limits) if c.limit == "gpu_memory")


def test_gpu_watch_reports_the_trees_peak_on_one_gpu(nvml):
    fake = nvml()
    watch = GpuWatch(Gpus(fake))
    fake.running = [[(ONE, 3 * GIB), (TWO, GIB), (OTHER, 9 * GIB)], [(ONE, 2 * GIB)]]
    fake.busy = [50, 10]
    assert watch.sample({ONE, TWO}) == 4 * GIB
    fake.running, fake.busy = [[], []], [0, 0]
    assert watch.sample({ONE, TWO}) == 0
    used = watch.usage()
    assert (used.peak_memory_bytes, used.busy_share, used.samples) == (4 * GIB, 0.25, 2)
    assert used.cards == ["Tesla T4"] * 2


def test_growth_of_the_gpu_counts_when_the_driver_gives_no_size(nvml):
    fake = nvml()
    watch = GpuWatch(Gpus(fake))
    fake.running[1], fake.used = [(ONE, None)], [GIB, 6 * GIB]
    assert watch.sample({ONE}) == 5 * GIB


def test_growth_of_the_gpu_counts_when_the_driver_lists_unknown_processes(nvml):
    """As in a container: it lists processes that do not exist here, or none."""
    fake = nvml()
    watch = GpuWatch(Gpus(fake))
    fake.used = [GIB, 6 * GIB]
    for running in ([], [(UNKNOWN_PID, 5 * GIB)]):
        fake.running[1] = running
        assert watch.sample({ONE}) == 5 * GIB
    fake.drawing = [OTHER]  # a desktop: the driver does list processes
    assert watch.sample({ONE}) == 0


def test_gpu_that_stops_answering_is_watched_as_far_as_it_answered(nvml):
    fake = nvml()
    watch = GpuWatch(Gpus(fake))
    fake.running[0], fake.partitioned = [(ONE, 2 * GIB)], True
    assert watch.sample({ONE}) == 2 * GIB
    fake.silent = True
    assert watch.sample({ONE}) == 0
    assert (watch.usage().busy_share, watch.usage().samples) == (None, 1)
    gpu.find_gpus.cache_clear()
    assert claim(Limits(gpu_memory_bytes=GIB)) == ("NOT ENFORCED HERE", "NVML does not work: GPU is lost")


def test_gpu_memory_limit_stops_a_run(nvml, tmp_path, monkeypatch):
    """A real process; its GPU memory comes from the fake."""
    fake = nvml()

    def running(handle):
        *_, newest = psutil.Process().children(recursive=True)
        return [SimpleNamespace(pid=newest.pid, usedGpuMemory=9 * GIB)]

    monkeypatch.setattr(fake, "nvmlDeviceGetComputeRunningProcesses", running)
    for name in ("kaggle/input", "kaggle/src", "kaggle/working", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    outcome = BACKENDS["process"].run(job(tmp_path), Limits(gpu_memory_bytes=8 * GIB, wall_time_s=30), lambda _: None)
    assert outcome.ending is Ending.GPU_MEMORY
    assert outcome.usage.gpu.peak_memory_bytes == 9 * GIB


def test_run_without_gpu_has_no_gpu_usage(nvml, tmp_path):
    nvml()
    for name in ("kaggle/input", "kaggle/src", "kaggle/working", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    outcome = BACKENDS["process"].run(job(tmp_path, seconds=0, gpu=False), Limits(), lambda _: None)
    assert outcome.usage.gpu is None


def test_gpu_memory_enforcement_depends_on_nvml(nvml, monkeypatch):
    limits = Limits(gpu_memory_bytes=GIB)
    nvml()
    assert claim(limits)[0] == "watched"
    nvml(broken="Driver/library version mismatch")
    assert claim(limits) == ("NOT ENFORCED HERE", "NVML does not work: Driver/library version mismatch")
    nvml()
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it fails
    gpu.find_gpus.cache_clear()
    assert claim(limits) == ("NOT ENFORCED HERE", "nvidia-ml-py is not installed: pip install nvidia-ml-py")
    monkeypatch.setattr(gpu, "NODES", "no-such-card*")
    gpu.find_gpus.cache_clear()
    assert claim(limits) == ("enforced", "this machine has no NVIDIA GPU: none can be used")


def test_profiles_offer_a_gpu_where_the_hosted_machine_has_one():
    seen = {name: profiles.load(name).offers_gpu for name in profiles.names()}
    assert seen == {
        "kaggle-2020-cpu": False,
        "kaggle-2020-gpu": True,
        "kaggle-today-cpu": False,
        "kaggle-today-gpu": True,
        "private-2020": True,
        "unlimited": True,
    }


def job(stage, seconds: float = 20, *, gpu: bool = True) -> Job:
    return Job(
        command=[sys.executable, "-I", "-S", "-c", f"import time; time.sleep({seconds})"],
        environment={},
        stage=stage,
        working=stage / "kaggle" / "working",
        temporary=stage / "tmp",
        log=stage / "log.txt",
        gpu=gpu,
    )
