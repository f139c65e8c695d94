"""One file fetched over HTTP: resumed across processes, retried with patience, its link renewed, its bytes verified."""

import queue
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from dfdc_kit.errors import KaggleError, OutputError
from dfdc_kit.files import check_room
from dfdc_kit.kaggle.download.partial import Identity, Partial, file_digest, is_digest_of
from dfdc_kit.kaggle.errors import from_response, translate, unreachable
from dfdc_kit.kaggle.retry import AGAIN, LONGEST_ASKED_S, UNREACHED, RetryPolicy, retry_after_s

if TYPE_CHECKING:
    import requests


CONNECT_TIMEOUT_S = 20.0
BLOCK_BYTES = 1 << 20
SLOWEST_BYTES_PER_S = 1024  # over a whole timeout; slower than this, a new connection is tried
DAMAGED = 3  # times that a file may arrive with another digest than its server says
RENEWALS = 3  # links in a row that may be refused, with no byte between them
RENEW = {400, 401, 403, 410}  # what a storage says to a link whose time is over


class Watcher(Protocol):
    """Who is told how a transfer goes; called from several threads."""

    def started(self, name: str, have_bytes: int, size_bytes: int | None) -> None:
        """A file begins, or begins again, at `have_bytes`."""

    def advanced(self, name: str, count_bytes: int) -> None:
        """More bytes have arrived."""

    def ended(self, name: str) -> None:
        """The file is whole and verified, or given up."""

    def said(self, sentence: str) -> None:
        """Something worth a line: a wait, a new start."""


class FetchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A file to fetch. `link` gives an address that works for a while; it is asked again when that time is over."""

    name: str  # as the user knows it
    path: Path
    link: Callable[[], str]


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is whole, verified, and under its final name."""

    size_bytes: int
    digest: str
    transferred_bytes: int  # in this process
    verified: bool  # against a digest of the server's; else only the size was compared


class BadResponseError(Exception):
    """The server answered, but not what was asked."""


class StoppedError(Exception):
    """Another file's fault, or the user, ends the work."""


@dataclass(kw_only=True)
class Wire:
    """What all transfers share."""

    session: Callable[[], "requests.Session"]  # one for each call: sessions are not shared between threads
    watcher: Watcher
    patience: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_s: float = 60.0  # without a byte
    stop: threading.Event = field(default_factory=threading.Event)


def fetch(wanted: FetchRequest, wire: Wire) -> Fetched:
    """Fetch `wanted` to its path, going on where an earlier call was interrupted.

    Raises KaggleError where the server or the way to it fails for good, OutputError where the disk does, StoppedError
    after `wire.stop` was set. What has arrived is kept in every case, and never stands under the final name unverified.
    """
    try:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        with wire.session() as session:
            return _Transfer(wanted, wire, session, Partial(wanted.path)).run()
    except (KaggleError, OutputError):
        raise
    except OSError as error:
        hint = "Free some space or choose another folder, then run the same command again; it goes on where it stopped"
        raise OutputError(f"Cannot write {wanted.path}: {error.strerror}.", hint=hint) from None
    finally:
        wire.watcher.ended(wanted.name)


class _Transfer:
    """The attempts to fetch one file."""

    def __init__(self, wanted: FetchRequest, wire: Wire, session: "requests.Session", partial: Partial) -> None:
        self.wanted, self.wire, self.session, self.partial = wanted, wire, session, partial
        self.link = ""
        self.transferred_bytes = 0
        self.furthest_bytes = self.partial.have_bytes
        self.failures = self.renewals = self.damaged = 0

    def run(self) -> Fetched:
        import requests
        from urllib3.exceptions import HTTPError

        while True:
            if self.wire.stop.is_set():
                raise StoppedError
            try:
                if not self.partial.whole and self._attempt():
                    return self._kept()
                if fetched := self._finished():
                    return fetched
            except (requests.RequestException, HTTPError, BadResponseError) as error:
                self._suffer(error)

    def _attempt(self) -> bool:
        """Ask for what is missing and take it in. True if the file turns out to be there already, whole and right."""
        have = self.partial.have_bytes
        headers = {"Range": f"bytes={have}-", "If-Range": self.partial.identity.validator} if have else {}  # type: ignore[union-attr]
        self.link = self.link or self.wanted.link()
        timeout = (CONNECT_TIMEOUT_S, self.wire.timeout_s)
        with self.session.get(self.link, headers=headers, stream=True, timeout=timeout) as response:
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise _page(self.wanted.name)
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise BadResponseError("the server sent packed bytes, plain ones were asked for")
            if response.status_code == 206:
                self._check_range(response, have)
            elif response.status_code == 200:
                identity = Identity.of(response.headers)
                if self._already(identity):
                    return True
                if have:
                    self._say("has changed on the server; it is fetched from its start")
                check_room(self.wanted.path.parent, identity.size_bytes or 0)
                self.partial.begin(identity)
            else:
                response.raise_for_status()
                raise BadResponseError(f"status {response.status_code}")
            self._take(response)
        return False

    def _check_range(self, response: "requests.Response", have: int) -> None:
        """Refuse bytes that are not those which were asked for."""
        identity = self.partial.identity
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        size = str(identity.size_bytes) if identity else ""
        if not found or int(found.group(1)) != have or found.group(2) not in (size, "*"):
            self.partial.discard()
            raise BadResponseError("the server sent other bytes than were asked for")

    def _take(self, response: "requests.Response") -> None:
        """Append what arrives."""
        watcher, name = self.wire.watcher, self.wanted.name
        size = self.partial.identity.size_bytes if self.partial.identity else None
        at = self.partial.have_bytes
        watcher.started(name, at, size)
        pace = _Pace(self.wire.timeout_s)
        with self.partial.appending() as append:
            while block := response.raw.read1(BLOCK_BYTES, decode_content=False):
                if self.wire.stop.is_set():
                    raise StoppedError
                append(block)
                at += len(block)
                self.transferred_bytes += len(block)
                watcher.advanced(name, len(block))
                if at > self.furthest_bytes:  # progress: whatever went wrong before is behind us
                    self.furthest_bytes, self.failures, self.renewals = at, 0, 0
                pace.check(len(block))

    def _finished(self) -> Fetched | None:
        """The verified file under its final name; None if its bytes are damaged and it has to be fetched again."""
        identity, partial = self.partial.identity, self.partial
        if identity is None:
            return None
        size, digest = partial.part.stat().st_size, partial.digest()
        if identity.size_bytes not in (None, size):
            raise BadResponseError(f"{size:,} of {identity.size_bytes:,} bytes")
        if identity.digest and identity.digest != digest:
            self.damaged += 1
            partial.discard()
            self.furthest_bytes = 0
            self._say("arrived damaged (its digest differs); it is fetched again")
            if self.damaged >= DAMAGED:
                message = f"{self.wanted.name} arrived damaged {DAMAGED} times."
                raise KaggleError(message, hint="Try another network, or later", reason="damaged")
            return None
        partial.finish()
        return Fetched(
            size_bytes=size,
            digest=digest,
            transferred_bytes=self.transferred_bytes,
            verified=bool(identity.digest),
        )

    def _already(self, identity: Identity) -> bool:
        """Whether the final name holds this very object, left by an earlier run that could not note it any more."""
        path = self.wanted.path
        if not identity.digest or not path.is_file() or path.stat().st_size != identity.size_bytes:
            return False
        return is_digest_of(identity.digest, path)

    def _kept(self) -> Fetched:
        self.partial.discard()
        return Fetched(
            size_bytes=self.wanted.path.stat().st_size,
            digest=file_digest(self.wanted.path),
            transferred_bytes=0,
            verified=True,
        )

    def _say(self, what: str) -> None:
        self.wire.watcher.said(f"{self.wanted.name} {what}.")

    def _suffer(self, error: Exception) -> None:
        """Wait, or renew the link, or give up with a sentence."""
        response: requests.Response | None = getattr(error, "response", None)
        status = response.status_code if response is not None else None
        doing = f"fetching {self.wanted.name}"
        self.failures += 1
        if status == 416:
            self.partial.discard()
            return self._pause(error, f"The server holds less of {self.wanted.name} than we do.", None)
        if status in RENEW:
            self.link = ""
            self.renewals += 1
            if self.renewals < RENEWALS:
                return self._say("is asked for with a new link; the old one is no longer valid")
            message = f"Every new link to {self.wanted.name} is refused ({status})."
            raise KaggleError(message, hint="Are the competition's rules accepted?", reason="expired-link") from None
        if response is not None and status not in AGAIN:
            raise from_response(response, doing) from None
        if isinstance(error, BadResponseError):
            fault = KaggleError(f"The answer is wrong, {doing}: {error}.", hint="Try later", reason="server")
        else:
            fault = translate(error, doing)
        return self._pause(error, str(fault), retry_after_s(response), fault)

    def _pause(self, error: Exception, why: str, asked_s: float | None, fault: KaggleError | None = None) -> None:
        most = self.wire.patience.failures
        if unreachable(error) and not self.furthest_bytes:
            most = min(UNREACHED, most)
        if self.failures >= most or (asked_s or 0) > LONGEST_ASKED_S:
            raise (fault or KaggleError(why, reason="server")) from None
        self.wire.patience.wait(self.failures, why, asked_s, most=most)


class _Pace:
    """Notices a connection that is alive but useless."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._since_s, self._bytes = time.monotonic(), 0

    def check(self, count_bytes: int) -> None:
        """Raise BadResponseError if a whole window brought less than the slowest useful rate."""
        self._bytes += count_bytes
        spent_s = time.monotonic() - self._since_s
        if spent_s >= self._window_s:
            if self._bytes < SLOWEST_BYTES_PER_S * spent_s:
                raise BadResponseError(f"only {self._bytes / spent_s:,.0f} bytes a second")
            self._since_s, self._bytes = time.monotonic(), 0


def _page(name: str) -> KaggleError:
    return KaggleError(f"The server sent a web page in place of {name}.", hint="Sign in again", reason="page")


Task = TypeVar("Task")
Answer = TypeVar("Answer")
JOIN_S = 2.0  # what a thread is given to notice that the work has ended


def map_threads(
    work: Callable[[Task], Answer], tasks: Iterable[Task], jobs: int, stop: threading.Event
) -> list[Answer]:
    """`work` of each task, at most `jobs` at once; the answers in the order of the tasks.

    The first exception, or Ctrl-C, sets `stop` and is raised. Threads are daemons: one that still waits for a silent
    server does not hold the process, and it writes nothing more, as it looks at `stop` before every write.
    """
    waiting: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, Answer | None, BaseException | None]] = queue.SimpleQueue()
    count = 0
    for count, task in enumerate(tasks, 1):
        waiting.put((count - 1, task))

    def labour() -> None:
        while not stop.is_set():
            try:
                number, task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((number, work(task), None))
            except BaseException as error:  # noqa: BLE001  # handed to the thread that waits for it
                ended.put((number, None, error))
                stop.set()

    threads = [threading.Thread(target=labour, daemon=True) for _ in range(min(jobs, count))]
    answers: dict[int, Answer] = {}
    try:
        for thread in threads:
            thread.start()
        while len(answers) < count:
            number, answer, error = ended.get()
            if error is not None:
                raise error
            answers[number] = answer  # type: ignore[assignment]
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join(JOIN_S)
        raise
    return [answers[number] for number in range(count)]
