"""Counters of a container's control group, from folders that look like the kernel's."""

import time

import pytest

from dfdc_kit.sandbox.monitor import control_group
from dfdc_kit.sandbox.monitor.control_group import Container, ControlGroup, ControlGroupSampler, Reading

MIB = 1 << 20
CONTAINER = Container(7, "box")
VERSION_1 = {
    "memory/box/memory.max_usage_in_bytes": f"{5 * MIB}\n",
    "memory/box/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "cpuacct/box/cpuacct.usage": "1500000000\n",
}
VERSION_2 = {
    "box/memory.peak": f"{5 * MIB}\n",
    "box/memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\n",
    "box/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
}


@pytest.fixture
def kernel(tmp_path):
    """Write the files of a mount, and of /proc for process 7; a ControlGroup that reads them."""

    def make(lines: str, files: dict[str, str]) -> ControlGroup:
        for name, text in {"proc/7/cgroup": lines, **{f"mount/{k}": v for k, v in files.items()}}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return ControlGroup(CONTAINER, tmp_path / "mount", tmp_path / "proc")

    return make


@pytest.mark.parametrize(
    ("lines", "files"),
    [("8:pids:/box\n4:memory:/box\n2:cpuacct:/box\n", VERSION_1), ("0::/box\n", VERSION_2)],
    ids=["version-1", "version-2"],
)
def test_reading_is_the_same_from_version_1_and_2(kernel, lines, files):
    assert kernel(lines, files).read() == Reading(1.5, 5 * MIB, 2)


def test_missing_counters_are_none(kernel):
    """Version 2 before Linux 5.19 has no memory.peak."""
    files = {name: text for name, text in VERSION_2.items() if "peak" not in name}
    assert kernel("0::/box\n", files).read() == Reading(1.5, None, 2)
    assert kernel("0::/elsewhere\n", {}).read() == Reading()


def test_control_group_raises_when_there_is_no_such_process(tmp_path):
    with pytest.raises(OSError, match="cgroup"):
        ControlGroup(CONTAINER, tmp_path, tmp_path)


def test_sampler_keeps_the_last_reading_when_the_group_is_removed(monkeypatch):
    readings = iter([Reading(0.1, MIB, 0), Reading(0.2, 2 * MIB, 1), Reading(None, 3 * MIB, 1), Reading()])

    class Group:
        def __init__(self, container):
            assert container == CONTAINER

        def read(self):
            return next(readings)

    monkeypatch.setattr(control_group, "ControlGroup", Group)
    found = iter([None, CONTAINER])
    with ControlGroupSampler(lambda: next(found)) as sampler:
        sampler._thread.join(20)
    assert sampler.last == Reading(0.2, 3 * MIB, 1)


def test_sampler_reads_nothing_when_the_container_never_runs():
    with ControlGroupSampler(lambda: None) as sampler:
        time.sleep(0.01)
    assert sampler.last == Reading()


@pytest.mark.parametrize("lines", ["4:memory:/\n2:cpuacct:/\n", "4:memory:/somebody-else\n", "0::/\n"])
def test_reading_is_empty_when_the_process_is_in_another_group(kernel, lines):
    """The kernel shows an ended process in the root group, and its number may be reused."""
    files = {"memory/memory.max_usage_in_bytes": "1\n", "memory/somebody-else/memory.max_usage_in_bytes": "1\n"}
    assert kernel(lines, files | {"memory.peak": "1\n"}).read() == Reading()
