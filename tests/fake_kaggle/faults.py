"""Injected faults: what fails, where, and how often."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "status",  # answer with `status`, `message` and `headers`
    "reset",  # close the connection without an answer
    "lost",  # a remote call takes effect, then the connection closes without an answer
    "hang",  # say nothing (after `after_bytes` of the body, if given) until the server ends
    "drop",  # promise the whole body, close after `after_bytes` of it
    "trickle",  # send the body at `bytes_per_s`
    "flip",  # change one bit of the byte at `after_bytes`, counted from the start of the file
    "truncate",  # serve only the first `after_bytes` of the file, as if that were all
    "wrong-range",  # answer a Range request with 206 and the bytes from 0
    "ignore-range",  # answer a Range request with 200 and the whole file
    "call",  # call `before`, then answer as usual
]


@dataclass
class Fault:
    """One injected fault. `at` is a part of the request's path, e.g. "ListDataFiles" or "archive.zip"."""

    kind: Kind
    at: str = ""
    times: int = 1  # how many requests it meets; -1: all
    skip: int = 0  # how many matching requests go well first
    status: int = 500
    message: str = "Internal error"
    nested: bool = False  # the body of a 429 as seen in the wild: {"error": {...}}, without a code at the top
    headers: dict[str, str] = field(default_factory=dict)
    after_bytes: int | None = None
    bytes_per_s: float = 1e9
    method: str = ""  # only requests of this method
    before: Callable[[], None] = lambda: None
    met: int = 0  # how many requests it has met


class Faults:
    """The remaining faults, in the order of injection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._all.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._all.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets, if any; counted."""
        with self._lock:
            for fault in self._all:
                if fault.at in path and fault.method in ("", method) and fault.times != 0:
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= fault.times > 0
                    fault.met += 1
                    return fault
        return None
