"""The server: takes requests as a proxy does (absolute targets), records them, applies injected faults, answers."""

import json
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from . import rpc, storage
from .faults import Fault, Faults
from .world import KEY, TOKEN, USER, World

HANG_S = 60  # a hang ends with the server, or after this
BROKEN = (ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Seen:
    """One received request."""

    method: str
    url: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def call(self) -> str:
        """The remote call's name, such as "ListDataFiles"; empty for a plain request."""
        return self.path.rsplit("/", 1)[-1] if "/v1/" in self.path else ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class FakeKaggle:
    """A Kaggle on loopback. `with FakeKaggle() as kaggle: kaggle.world.files[...] = b"..."`."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.faults = Faults()
        self.requests: list[Seen] = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()  # one remote call at a time changes the world
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.kaggle = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def fault(self, kind: str, at: str = "", **details: Any) -> Fault:
        """Inject a fault: `kaggle.fault("drop", at="archive.zip", after_bytes=1000, times=3)`."""
        return self.faults.add(Fault(kind, at, **details))  # type: ignore[arg-type]

    def calls(self, name: str) -> list[Seen]:
        """The requests of one remote call, such as "ListDataFiles"."""
        return [seen for seen in self.requests if seen.call == name]

    def gets(self, part: str = "") -> list[Seen]:
        """The plain GET requests whose path holds `part`."""
        return [seen for seen in self.requests if seen.method == "GET" and part in seen.path]

    def environment(self, home: Path, *, token: bool = False, key: bool = True) -> dict[str, str]:
        """Variables that send the official client here, with a home of its own; nothing can leave the machine."""
        here = f"http://127.0.0.1:{self.port}"
        return {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "KAGGLE_CONFIG_DIR": str(home / ".kaggle"),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            **({"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY} if key else {}),
            **({"KAGGLE_API_TOKEN": TOKEN} if token else {}),
            **dict.fromkeys(("HTTP_PROXY", "http_proxy"), here),
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"),  # nobody listens there
            **dict.fromkeys(("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"), ""),
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    kaggle: FakeKaggle

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that is killed or gives up is what the tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate((timestamp or time.time()) + self.server.kaggle.world.clock_offset_s, usegmt=True)

    def do_POST(self) -> None:
        self._serve(self._remote_call)

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_PUT(self) -> None:
        self._serve(self._upload)

    def _serve(self, answer: Any) -> None:
        kaggle = self.server.kaggle
        split = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = Seen(self.command, self.path, unquote(split.path), dict(self.headers.items()), body)
        with kaggle.lock:
            kaggle.requests.append(seen)
        if kaggle.world.latency_s:
            time.sleep(kaggle.world.latency_s)
        fault = kaggle.faults.take(self.command, seen.path)
        try:
            if fault and fault.kind == "status":
                self._refuse(fault.status, fault.message, fault.headers, nested=fault.nested)
            elif fault and fault.kind == "reset":
                self.close_connection = True
            elif fault and fault.kind == "hang" and fault.after_bytes is None:
                kaggle.stopping.wait(HANG_S)
                self.close_connection = True
            else:
                if fault and fault.kind == "call":
                    fault.before()
                answer(seen, split, fault)
        except BROKEN:
            self.close_connection = True

    def _remote_call(self, seen: Seen, split: Any, fault: Fault | None) -> None:
        kaggle = self.server.kaggle
        name = "/".join(seen.path.split("/")[-2:])
        user = kaggle.world.user_of(seen.headers.get("Authorization", ""))
        try:
            if name not in rpc.CALLS:
                raise rpc.Refused(404, "Not found")
            if user is None and name not in rpc.OPEN:
                raise rpc.Refused(401, "Unauthenticated")
            with kaggle.lock:
                reply = rpc.CALLS[name](kaggle.world, seen.json if seen.body else {}, user or "")
        except rpc.Refused as refused:
            self._refuse(refused.status, refused.message)
        except rpc.Redirect as redirect:
            self._send(302, {"Location": redirect.url}, b"")
        except rpc.Body as body:
            self._send(200, {"Content-Type": "application/zip"}, body.content)
        else:
            if fault and fault.kind == "lost":
                self.close_connection = True
                return
            self._send(200, {"Content-Type": "application/json"}, json.dumps(reply).encode())

    def _get(self, seen: Seen, split: Any, fault: Fault | None) -> None:
        world = self.server.kaggle.world
        if "/datadownload/" in seen.path:
            return self._part(seen, fault)
        if seen.path.startswith("/account/login"):
            return self._send(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><title>Login | Kaggle</title>")
        signature = parse_qs(split.query).get("X-Goog-Signature", [""])[0]
        return self._object(world.links.get(signature, ""), fault)

    def _object(self, name: str, fault: Fault | None) -> None:
        world = self.server.kaggle.world
        stored = world.stored(unquote(name)) if name else None
        if stored is None:
            return self._send(403, {"Content-Type": "application/xml"}, storage.EXPIRED)
        status, headers, span = storage.answer(stored, self.headers, fault, world)
        self._headers(status, headers)
        sent = 0
        limit = fault.after_bytes if fault and fault.kind in ("drop", "hang") else None
        for chunk in storage.chunks(stored, span, fault, world):
            self.wfile.write(chunk if limit is None else chunk[: max(0, limit - sent)])
            sent += len(chunk)
            if limit is not None and sent >= limit:
                if fault and fault.kind == "hang":
                    self.server.kaggle.stopping.wait(HANG_S)
                self.close_connection = True
                return None
        return None

    def _part(self, seen: Seen, fault: Fault | None) -> None:
        world = self.server.kaggle.world
        name = seen.path.rsplit("/", 1)[-1]
        if not any(cookie in seen.headers.get("Cookie", "") for cookie in world.cookies):
            return self._send(302, {"Location": "http://www.kaggle.fake/account/login?returnUrl=x"}, b"")
        if name not in world.parts:
            return self._refuse(404, "Not found")
        if world.parts_directly:
            return self._object(f"parts/{name}", fault)
        return self._send(302, {"Location": world.sign(f"parts/{name}")}, b"")

    def _upload(self, seen: Seen, split: Any, fault: Fault | None) -> None:
        token = seen.path.rsplit("/", 1)[-1]
        received = self.server.kaggle.world.uploads.get(token)
        if received is None:
            return self._send(404, {}, b"")
        span = seen.headers.get("Content-Range", "")
        if span.startswith("bytes */"):
            return self._resumed(received, int(span.rsplit("/", 1)[1]))
        if not span:
            received.clear()
        received += seen.body
        return self._send(200, {}, b"{}")

    def _resumed(self, received: bytearray, total: int) -> None:
        if len(received) >= total:
            return self._send(200, {}, b"{}")
        return self._send(308, {"Range": f"bytes=0-{len(received) - 1}"} if received else {}, b"")

    def _refuse(
        self, status: int, message: str, headers: dict[str, str] | None = None, *, nested: bool = False
    ) -> None:
        body: Any = {"code": status, "message": message}
        if nested:
            body = {"error": {**body, "status": "RESOURCE_EXHAUSTED"}}
        self._send(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._headers(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _headers(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
