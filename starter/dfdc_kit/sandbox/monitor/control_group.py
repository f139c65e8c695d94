"""A container's resource usage, read from its control group (version 1 or 2) while it runs."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

MOUNT = Path("/sys/fs/cgroup")
FIND_EVERY_S, READ_EVERY_S = 0.1, 0.01


class Reading(NamedTuple):
    """The counters of a control group since its creation. None: the kernel or mount does not have the counter."""

    cpu_time_s: float | None = None
    peak_memory_bytes: int | None = None
    killed_for_memory: int | None = None  # processes that the kernel's out-of-memory killer ended


class Container(NamedTuple):
    """A running container."""

    pid: int  # of its first process
    name: str  # a part of its control group's path


class ControlGroup:
    """The control group of a container: one folder, or with version 1 one per controller."""

    def __init__(self, container: Container, mount: Path = MOUNT, proc: Path = Path("/proc")) -> None:
        """Raises OSError if there is no such process.

        A process that has just ended is shown in the root group, and its number may be reused: a path without the
        container's name is not its group.
        """
        self._folders: dict[str, Path] = {}
        for line in (proc / str(container.pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            # version 2 has one line, without a controller
            for controller in controllers.split(",") if container.name in path else ():
                self._folders[controller] = mount / controller / path.lstrip("/")

    def read(self) -> Reading:
        """The counters now."""
        nanoseconds = _number(self._text("cpuacct", "cpuacct.usage"))
        microseconds = _entry(self._text("", "cpu.stat"), "usage_usec")
        peak = _number(self._text("memory", "memory.max_usage_in_bytes"))
        killed = _entry(self._text("memory", "memory.oom_control"), "oom_kill")
        return Reading(
            cpu_time_s=nanoseconds / 1e9 if nanoseconds is not None else _seconds(microseconds),
            peak_memory_bytes=peak if peak is not None else _number(self._text("", "memory.peak")),
            killed_for_memory=killed if killed is not None else _entry(self._text("", "memory.events"), "oom_kill"),
        )

    def _text(self, controller: str, name: str) -> str:
        folder = self._folders.get(controller)
        with suppress(OSError):
            return (folder / name).read_text() if folder else ""
        return ""


class ControlGroupSampler:
    """Reads the control group of a container repeatedly while the context is open; `last` is the last reading.

    `find()` returns the container, or None while it is not running. `container` is set while it runs.
    """

    def __init__(self, find: Callable[[], Container | None]) -> None:
        self.last = Reading()
        self.container: Container | None = None
        self._find = find
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="control-group", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while self.container is None and not self._stop.wait(FIND_EVERY_S):
            self.container = self._find()
        if self.container is None:
            return
        with suppress(OSError):  # it has ended
            group = ControlGroup(self.container)
            while not self._stop.is_set():
                reading = group.read()
                if reading == Reading():  # the group is gone
                    break
                self.last = Reading(*map(_latest, self.last, reading))
                time.sleep(READ_EVERY_S)
        self.container = None


def _latest(before: Any, now: Any) -> Any:
    """The newer value, or the last known: the folders of version 1 are removed one after the other."""
    return before if now is None else now


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdigit() else None


def _entry(text: str, name: str) -> int | None:
    """The value of a line `name value`."""
    found = dict(line.split(None, 1) for line in text.splitlines() if " " in line).get(name)
    return None if found is None else _number(found)


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1e6
