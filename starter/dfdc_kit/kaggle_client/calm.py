"""What the `kaggle` package does not do by itself: keep quiet, and give up on a silent server."""

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

TURN = threading.RLock()  # the changes below are seen by the whole process: one call at a time


@contextmanager
def calm(timeout_s: float) -> Iterator[None]:
    """While this thread talks to Kaggle: no output of its own, and a timeout on every request without one."""
    with TURN, _muted(), _sending(lambda send, request, options: send(request, **_timed(options, timeout_s))):
        yield


@contextmanager
def offline() -> Iterator[None]:
    """While `kaggle` is imported: no output, no request (it would introspect the token, without a timeout)."""
    import requests

    def refuse(_send: Any, request: Any, _options: Any) -> Any:
        raise requests.ConnectionError("no requests during import", request=request)

    with TURN, _muted(), _sending(refuse):
        yield


def _timed(options: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    return {**options, "timeout": options.get("timeout") or timeout_s}


@contextmanager
def _sending(via: Any) -> Iterator[None]:
    """Every request of the process goes through `via`: the client makes sessions of its own, out of reach."""
    from requests.adapters import HTTPAdapter

    original = HTTPAdapter.send

    def send(self: HTTPAdapter, request: Any, *arguments: Any, **options: Any) -> Any:
        names = ("stream", "timeout", "verify", "cert", "proxies")
        options |= dict(zip(names, arguments, strict=False))
        return via(original.__get__(self), request, options)

    HTTPAdapter.send = send  # type: ignore[method-assign]
    try:
        yield
    finally:
        HTTPAdapter.send = original  # type: ignore[method-assign]


@contextmanager
def _muted() -> Iterator[None]:
    """What this thread prints goes nowhere; what other threads print (a progress bar) is shown as ever."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _ForOthers(out), _ForOthers(err)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


class _ForOthers(io.TextIOBase):
    """A text stream that is deaf to the thread that made it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._deaf_to = threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() != self._deaf_to:
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return threading.get_ident() != self._deaf_to and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
