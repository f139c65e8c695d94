"""The storage behind signed links: whole files, ranges, and uploads."""

import base64
import os
import re
import time
from collections.abc import Iterator
from http.client import HTTPMessage
from pathlib import Path

from .faults import Fault
from .world import Stored, World

CHUNK_BYTES = 1 << 20
EXPIRED = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>Invalid argument.</Message></Error>"


def answer(
    stored: Stored, headers: HTTPMessage, fault: Fault | None, world: World
) -> tuple[int, dict[str, str], range]:
    """Status, headers and the range of bytes to send."""
    kind = fault.kind if fault else ""
    size = min(stored.size, fault.after_bytes or 0) if fault and kind == "truncate" else stored.size
    wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
    condition = headers.get("If-Range")
    reply = {"Accept-Ranges": "bytes", "ETag": stored.etag, "Last-Modified": "Wed, 11 Dec 2019 23:47:00 GMT"}
    reply["Content-Type"] = "application/octet-stream"
    digests = {"crc32c": stored.crc32c, "md5": stored.md5}
    if world.publishes:
        reply["X-Goog-Hash"] = ",".join(
            f"{name}={base64.b64encode(digests[name]).decode()}" for name in world.publishes
        )
    if not wanted or kind == "ignore-range" or (condition and condition != stored.etag):
        return 200, {**reply, "Content-Length": str(size)}, range(size)
    start = int(wanted.group(1))
    if start >= size:
        return 416, {**reply, "Content-Range": f"bytes */{size}", "Content-Length": "0"}, range(0)
    first = 0 if kind == "wrong-range" else start
    reply["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
    return 206, {**reply, "Content-Length": str(size - first)}, range(first, size)


def chunks(stored: Stored, span: range, fault: Fault | None, world: World) -> Iterator[bytes | memoryview]:
    """The bytes of `span`, at the speed and with the damage that was ordered."""
    rate = fault.bytes_per_s if fault and fault.kind == "trickle" else world.bytes_per_s
    step = max(1, min(CHUNK_BYTES, int(rate / 50))) if rate else CHUNK_BYTES
    flipped = fault.after_bytes if fault and fault.kind == "flip" else None
    for start in range(span.start, span.stop, step):
        piece = _read(stored, start, min(start + step, span.stop))
        if flipped is not None and start <= flipped < start + len(piece):
            damaged = bytearray(piece)
            damaged[flipped - start] ^= 1
            piece = bytes(damaged)
        yield piece
        if rate:
            time.sleep(len(piece) / rate)


def _read(stored: Stored, start: int, stop: int) -> bytes | memoryview:
    if isinstance(stored.content, bytes):
        return memoryview(stored.content)[start:stop]
    handle = _opened(stored.content)
    try:
        return os.pread(handle, stop - start, start)
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY)
