"""Downloads one file over HTTP: resumed across processes, retried, its signed link renewed, its digest compared."""

import queue
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec
import tenacity

from dfdc_kit.errors import KaggleError, OutputError
from dfdc_kit.files import check_free_space
from dfdc_kit.kaggle.download.partial import Identity, Partial, file_digest, is_digest_of
from dfdc_kit.kaggle.download.session import new_session
from dfdc_kit.kaggle.errors import is_unreachable, translate
from dfdc_kit.kaggle.retry import TRANSIENT, UNREACHABLE_ATTEMPTS, RetryPolicy

if TYPE_CHECKING:
    import requests


ATTEMPTS = 12  # in a row without a byte: some six minutes
CONNECT_TIMEOUT_S = 20.0
BLOCK_BYTES = 1 << 20
SLOWEST_BYTES_PER_S = 1024  # over a whole timeout; below this, a new connection is tried
MOST_DAMAGED = 3  # times that a file may arrive with a wrong digest
MOST_RENEWALS = 3  # links in a row that may be refused without a byte in between
EXPIRED = {400, 401, 403, 410}  # what a storage answers to a signed link that has expired


class TransferProgress(Protocol):
    """Receives the progress of transfers; called from several threads."""

    def started(self, name: str, have_bytes: int, size_bytes: int | None) -> None:
        """A file starts, or starts again, at `have_bytes`."""

    def advanced(self, name: str, count_bytes: int) -> None:
        """More bytes have arrived."""

    def ended(self, name: str) -> None:
        """The file is complete and verified, or given up."""

    def info(self, sentence: str) -> None:
        """A remark: a wait, a new start."""


class FetchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A file to fetch. `link` returns a signed address; it is called again when that has expired."""

    name: str  # as the user knows it
    path: Path
    link: Callable[[], str]


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A complete, verified file under its final name."""

    size_bytes: int
    digest: str
    transferred_bytes: int  # in this process
    verified: bool  # against a digest of the server's; else only the size was compared


class BadResponseError(Exception):
    """The server answered, but not what was asked."""

    response = None  # as in the errors of `requests`: nothing to read a Retry-After from


class StoppedError(Exception):
    """An error in another file, or the user, has stopped the work."""


@dataclass(kw_only=True)
class Transport:
    """What all transfers of a command share."""

    progress: TransferProgress
    session: Callable[[], "requests.Session"] = new_session  # one a call: threads must not share sessions
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_s: float = 60.0  # without a byte
    stop: threading.Event = field(default_factory=threading.Event)


def fetch(request: FetchRequest, transport: Transport) -> Fetched:
    """Fetch `request` to its path, resuming what an earlier call has left.

    Raises KaggleError if the server or the network fails for good, OutputError if the disk does, StoppedError after
    `transport.stop` was set. What has arrived is kept in every case; the final name is given only to a verified file.
    """
    try:
        request.path.parent.mkdir(parents=True, exist_ok=True)
        with transport.session() as session:
            return _Transfer(request, transport, session, Partial(request.path)).run()
    except (KaggleError, OutputError):
        raise
    except OSError as error:
        hint = "Free some space, or choose another folder; then run the same command again. It continues."
        raise OutputError(f"Cannot write {request.path}: {error.strerror}.", hint=hint) from None
    finally:
        transport.progress.ended(request.name)


class _Transfer:
    """The attempts to fetch one file."""

    def __init__(
        self, request: FetchRequest, transport: Transport, session: "requests.Session", partial: Partial
    ) -> None:
        self.request, self.transport, self.session, self.partial = request, transport, session, partial
        self.link = ""
        self.transferred_bytes = 0
        self.furthest_bytes = self.partial.have_bytes
        self.renewals = self.damaged = 0
        self.state: tenacity.RetryCallState | None = None

    def run(self) -> Fetched:
        policy = self.transport.retry
        return policy.retrying(self._attempts_for, self._translated, before=self._remember)(self._attempt)

    def _attempts_for(self, error: BaseException) -> int:
        """As `RetryPolicy.retrying` asks; progress sets the count of attempts back, see `_append`."""
        import requests
        from urllib3.exceptions import HTTPError

        attempts = self.transport.retry.attempts
        if not isinstance(error, requests.RequestException | HTTPError | BadResponseError):
            return 0
        if is_unreachable(error) and not self.furthest_bytes:
            return min(UNREACHABLE_ATTEMPTS, attempts)
        response = getattr(error, "response", None)
        return attempts if response is None or response.status_code in {*TRANSIENT, 416} else 1

    def _translated(self, error: BaseException) -> KaggleError:
        doing = f"fetching {self.request.name}"
        if isinstance(error, BadResponseError):
            return KaggleError(f"Invalid response, {doing}: {error}.", hint="Try later.", reason="server")
        return translate(error, doing)

    def _remember(self, state: tenacity.RetryCallState) -> None:
        self.state = state

    def _attempt(self) -> Fetched:
        """The verified file; links that have expired and damaged bytes are replaced without waiting."""
        while True:
            if self.transport.stop.is_set():
                raise StoppedError
            if not self.partial.is_complete and self._receive():
                return self._kept()
            if fetched := self._finished():
                return fetched

    def _receive(self) -> bool:
        """Ask for the missing bytes and append them. True if the final file is this object already."""
        have = self.partial.have_bytes
        headers = {"Range": f"bytes={have}-", "If-Range": self.partial.identity.validator} if have else {}  # type: ignore[union-attr]
        self.link = self.link or self.request.link()
        timeout = (CONNECT_TIMEOUT_S, self.transport.timeout_s)
        with self.session.get(self.link, headers=headers, stream=True, timeout=timeout) as response:
            status = response.status_code
            if status in EXPIRED:
                self._renew(status)
                return False
            if status == 416:  # the server has less than we do
                self.partial.discard()
            response.raise_for_status()
            if response.headers.get("Content-Type", "").startswith("text/html"):
                message = f"The server sent a web page instead of {self.request.name}."
                raise KaggleError(message, hint="Sign in again.", reason="page")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise BadResponseError("compressed bytes, expected plain ones")
            if status == 206:
                self._check_range(response, have)
            elif status == 200:
                identity = Identity.of(response.headers)
                if self._is_here(identity):
                    return True
                if have:
                    self._info("has changed on the server; fetching it from the start")
                check_free_space(self.request.path.parent, identity.size_bytes or 0)
                self.partial.begin(identity)
            else:
                raise BadResponseError(f"status {status}")
            self._append(response)
        return False

    def _renew(self, status: int) -> None:
        self.link = ""
        self.renewals += 1
        if self.renewals >= MOST_RENEWALS:
            message = f"Every new link to {self.request.name} is refused ({status})."
            raise KaggleError(message, hint="Are the competition's rules accepted?", reason="expired-link")
        self._info("gets a new link; the old one has expired")

    def _check_range(self, response: "requests.Response", have: int) -> None:
        """Refuse bytes that were not asked for."""
        identity = self.partial.identity
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        size = str(identity.size_bytes) if identity else ""
        if not found or int(found.group(1)) != have or found.group(2) not in (size, "*"):
            self.partial.discard()
            raise BadResponseError("other bytes than asked for")

    def _append(self, response: "requests.Response") -> None:
        progress, name = self.transport.progress, self.request.name
        size = self.partial.identity.size_bytes if self.partial.identity else None
        at = self.partial.have_bytes
        progress.started(name, at, size)
        rate = _RateCheck(self.transport.timeout_s)
        with self.partial.appending() as append:
            while block := response.raw.read1(BLOCK_BYTES, decode_content=False):
                if self.transport.stop.is_set():
                    raise StoppedError
                append(block)
                at += len(block)
                self.transferred_bytes += len(block)
                progress.advanced(name, len(block))
                if at > self.furthest_bytes:  # progress: earlier failures do not count any more
                    self.furthest_bytes, self.renewals = at, 0
                    if self.state:
                        self.state.attempt_number = 1
                rate.check(len(block))

    def _finished(self) -> Fetched | None:
        """The verified file under its final name; None if it must be fetched again, or its link renewed."""
        identity, partial = self.partial.identity, self.partial
        if identity is None or (not self.link and not partial.is_complete):
            return None
        size, digest = partial.part.stat().st_size, partial.digest()
        if identity.size_bytes not in (None, size):
            raise BadResponseError(f"{size:,} of {identity.size_bytes:,} bytes")
        if identity.digest and identity.digest != digest:
            self.damaged += 1
            partial.discard()
            self.furthest_bytes = 0
            self._info("arrived damaged (its digest differs); fetching it again")
            if self.damaged >= MOST_DAMAGED:
                message = f"{self.request.name} arrived damaged {MOST_DAMAGED} times."
                raise KaggleError(message, hint="Try another network, or later.", reason="damaged")
            return None
        partial.finish()
        return Fetched(
            size_bytes=size, digest=digest, transferred_bytes=self.transferred_bytes, verified=bool(identity.digest)
        )

    def _is_here(self, identity: Identity) -> bool:
        """Whether the final file is this object already, left by a run that was killed before it was recorded."""
        path = self.request.path
        if not identity.digest or not path.is_file() or path.stat().st_size != identity.size_bytes:
            return False
        return is_digest_of(identity.digest, path)

    def _kept(self) -> Fetched:
        self.partial.discard()
        path = self.request.path
        return Fetched(size_bytes=path.stat().st_size, digest=file_digest(path), transferred_bytes=0, verified=True)

    def _info(self, what: str) -> None:
        self.transport.progress.info(f"{self.request.name} {what}.")


class _RateCheck:
    """Notices a connection that is alive but too slow to be useful."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._since_s, self._bytes = time.monotonic(), 0

    def check(self, count_bytes: int) -> None:
        """Raise BadResponseError if a whole window brought less than SLOWEST_BYTES_PER_S."""
        self._bytes += count_bytes
        spent_s = time.monotonic() - self._since_s
        if spent_s >= self._window_s:
            if self._bytes < SLOWEST_BYTES_PER_S * spent_s:
                raise BadResponseError(f"only {self._bytes / spent_s:,.0f} bytes a second")
            self._since_s, self._bytes = time.monotonic(), 0


def new_transport(progress: TransferProgress, retry: RetryPolicy, timeout_s: float, stop: threading.Event) -> Transport:
    """The transport of one command; transfers bear more failures than calls do."""
    return Transport(progress=progress, retry=replace(retry, attempts=ATTEMPTS), timeout_s=timeout_s, stop=stop)


Task = TypeVar("Task")
Answer = TypeVar("Answer")
JOIN_S = 2.0  # for a thread to notice that the work has ended


def map_threads(
    work: Callable[[Task], Answer], tasks: Iterable[Task], jobs: int, stop: threading.Event
) -> list[Answer]:
    """`work` of each task, at most `jobs` at once; the answers in the order of the tasks.

    The first exception, or Ctrl-C, sets `stop` and is raised. Threads are daemons: one that still waits for a silent
    server does not hold the process, and it writes nothing more, as it checks `stop` before every write.
    """
    waiting: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, Answer | None, BaseException | None]] = queue.SimpleQueue()
    count = 0
    for count, task in enumerate(tasks, 1):
        waiting.put((count - 1, task))

    def run_tasks() -> None:
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

    threads = [threading.Thread(target=run_tasks, daemon=True) for _ in range(min(jobs, count))]
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
