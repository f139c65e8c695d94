"""Counters of a container's control group, from folders that look like the kernel's."""

import time

import pytest

from dfdc_kit.sandbox.monitor import control_group
from dfdc_kit.sandbox.monitor.control_group import Container, ControlGroup, ControlGroupSampler, Reading

MIB = 1 << 20
BOX = Container(7, "box")
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
        return ControlGroup(BOX, tmp_path / "mount", tmp_path / "proc")

    return make


@pytest.mark.parametrize(
    ("lines", "files"),
    [("8:pids:/box\n4:memory:/box\n2:cpuacct:/box\n", VERSION_1), ("0::/box\n", VERSION_2)],
    ids=["version-1", "version-2"],
)
def test_both_versions_say_the_same(kernel, lines, files):
    assert kernel(lines, files).read() == Reading(1.5, 5 * MIB, 2)


def test_what_a_kernel_does_not_have_is_not_known(kernel):
    """Version 2 before Linux 5.19 has no memory.peak."""
    files = {name: text for name, text in VERSION_2.items() if "peak" not in name}
    assert kernel("0::/box\n", files).read() == Reading(1.5, None, 2)
    assert kernel("0::/elsewhere\n", {}).read() == Reading()


def test_no_such_process(tmp_path):
    with pytest.raises(OSError, match="cgroup"):
        ControlGroup(BOX, tmp_path, tmp_path)


def test_the_gauge_keeps_the_last_reading_before_the_group_is_gone(monkeypatch):
    readings = iter([Reading(0.1, MIB, 0), Reading(0.2, 2 * MIB, 1), Reading(None, 3 * MIB, 1), Reading()])

    class Group:
        def __init__(self, container):
            assert container == BOX

        def read(self):
            return next(readings)

    monkeypatch.setattr(control_group, "ControlGroup", Group)
    found = iter([None, BOX])
    with ControlGroupSampler(lambda: next(found)) as gauge:
        gauge._thread.join(20)
    assert gauge.last == Reading(0.2, 3 * MIB, 1)


def test_a_container_that_never_ran_leaves_nothing_known():
    with ControlGroupSampler(lambda: None) as gauge:
        time.sleep(0.01)
    assert gauge.last == Reading()


@pytest.mark.parametrize("lines", ["4:memory:/\n2:cpuacct:/\n", "4:memory:/somebody-else\n", "0::/\n"])
def test_a_process_that_has_ended_is_not_read_as_another_group(kernel, lines):
    """The kernel shows it in the root group; and its number may be another's by now."""
    files = {"memory/memory.max_usage_in_bytes": "1\n", "memory/somebody-else/memory.max_usage_in_bytes": "1\n"}
    assert kernel(lines, files | {"memory.peak": "1\n"}).read() == Reading()
