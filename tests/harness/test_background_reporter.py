"""Who is told of a run may be slow, or not listen at all: nobody waits for that, and what is missed is counted."""

import threading
import time

from dfdc_kit.harness import observe as module
from dfdc_kit.harness.observe import BackgroundReporter


class Listener:
    """Listens only while `free` is set."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.heard = b""
        self.seen: list[str] = []

    def staged(self, done: int, total: int) -> None:
        pass

    def opened(self, name: str, count: int, total: int) -> None:
        self.seen.append(name)

    def output(self, data: bytes) -> None:
        self.free.wait()
        self.heard += data


def test_everything_is_told_in_order():
    listener = Listener()
    listener.free.set()
    with BackgroundReporter(listener) as aside:
        for number in range(100):
            aside.output(b"%d " % number)
            aside.opened(str(number), number, 100)
    assert listener.heard == b"".join(b"%d " % number for number in range(100))
    assert listener.seen == [str(number) for number in range(100)]


def test_who_listens_again_is_told_what_was_missed(monkeypatch):
    monkeypatch.setattr(module, "MOST_PIECES", 3)
    listener = Listener()
    with BackgroundReporter(listener) as aside:
        aside.output(b"first ")
        while not aside._waiting.empty():
            time.sleep(0.001)
        for _ in range(10):
            aside.output(b"12345678")
        listener.free.set()
        while not aside._waiting.empty():
            time.sleep(0.001)
        aside.output(b"last")
    note = b"\n[dfdc: 56 bytes are not shown here; log.txt has them]\n"
    assert listener.heard == b"first " + 3 * b"12345678" + note + b"last"


def test_who_never_listens_is_left(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    monkeypatch.setattr(module, "MOST_PIECES", 3)
    listener = Listener()
    with BackgroundReporter(listener) as aside:
        for _ in range(10):
            aside.output(b"x")
    assert listener.heard == b""
    listener.free.set()
    aside._thread.join(5)
    assert listener.heard == b"x"
