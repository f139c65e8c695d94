"""A slow listener never delays a run, and gets a note of how much output it missed."""

import threading

from dfdc_kit.harness.observe import BackgroundReporter


class Listener:
    """Blocks in `output` while `free` is not set; `blocked` is set once it does."""

    def __init__(self) -> None:
        self.free, self.blocked = threading.Event(), threading.Event()
        self.pieces: list[bytes] = []
        self.names: list[str] = []
        self.received = threading.Condition()

    def staged(self, done: int, total: int) -> None:
        pass

    def opened(self, name: str, count: int, total: int) -> None:
        self.names.append(name)

    def output(self, data: bytes) -> None:
        self.blocked.set()
        self.free.wait()
        with self.received:
            self.pieces.append(data)
            self.received.notify_all()

    def wait_for(self, count: int) -> None:
        with self.received:
            assert self.received.wait_for(lambda: len(self.pieces) >= count, 60)


def test_everything_is_reported_in_order():
    listener = Listener()
    listener.free.set()
    with BackgroundReporter(listener) as reporter:
        for number in range(100):
            reporter.output(b"%d " % number)
            reporter.opened(str(number), number, 100)
    assert listener.pieces == [b"%d " % number for number in range(100)]
    assert listener.names == [str(number) for number in range(100)]


def test_listener_that_falls_behind_is_told_how_many_bytes_it_missed():
    listener = Listener()
    with BackgroundReporter(listener, capacity=3) as reporter:
        reporter.output(b"first ")
        assert listener.blocked.wait(60)  # it holds the first piece, so three more can wait
        for _ in range(10):
            reporter.output(b"12345678")
        listener.free.set()
        listener.wait_for(4)
        reporter.output(b"last")
    note = b"\n[dfdc: 56 bytes are not shown here; log.txt has them]\n"
    assert b"".join(listener.pieces) == b"first " + 3 * b"12345678" + note + b"last"


def test_listener_that_never_returns_does_not_delay_the_end():
    listener = Listener()
    with BackgroundReporter(listener, capacity=3, patience_s=0.05) as reporter:
        for _ in range(10):
            reporter.output(b"x")
    assert listener.pieces == []
    listener.free.set()
    listener.wait_for(1)
    assert listener.pieces == [b"x"]
