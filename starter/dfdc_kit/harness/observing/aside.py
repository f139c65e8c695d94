"""Tells an audience how a run goes without waiting for it: a terminal that is held up must not hold up the watch."""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from dfdc_kit.harness.request import Audience

MOST_PIECES = 256  # that wait to be told, of up to 64 KiB each
PATIENCE_S = 2.0  # after the run, for what still waits


class Aside:
    """Passes `opened` and `output` on to `audience` in a thread of its own, in order, while the context is open.

    Who is slow misses output, and is told how much; the log has all of it.
    """

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST_PIECES)  # None: it is over
        self._missed_bytes = 0
        self._thread = threading.Thread(target=self._tell, name="audience", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(queue.Full):
            if self._missed_bytes:
                note = self._missed()
                self._waiting.put(lambda: self._audience.output(note), timeout=PATIENCE_S)
            self._waiting.put(None, timeout=PATIENCE_S)
            self._thread.join(PATIENCE_S)
        if self._thread.is_alive():  # it still waits for its audience: what it would have told after that is dropped
            with suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            self._waiting.put_nowait(None)

    def opened(self, name: str, count: int, total: int) -> None:
        """`count` of `total` videos have been opened; not told to who is behind: a later one says more."""
        self._offer(lambda: self._audience.opened(name, count, total))

    def output(self, data: bytes) -> None:
        """A piece of what the submission prints."""
        said = self._missed() + data
        if self._offer(lambda: self._audience.output(said)):
            self._missed_bytes = 0
        else:
            self._missed_bytes += len(data)

    def _missed(self) -> bytes:
        count = self._missed_bytes
        return b"\n[dfdc: %d bytes are not shown here; log.txt has them]\n" % count if count else b""

    def _offer(self, tell: Callable[[], None]) -> bool:
        try:
            self._waiting.put_nowait(tell)
        except queue.Full:
            return False
        return True

    def _tell(self) -> None:
        while (tell := self._waiting.get()) is not None:
            tell()
