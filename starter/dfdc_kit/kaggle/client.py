"""Calls to Kaggle through its own client: signed in once, retried, silent, bounded in time, faults explained."""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

from dfdc_kit.errors import KaggleError
from dfdc_kit.kaggle.credentials import HOW, redacted, sources
from dfdc_kit.kaggle.errors import bad_token, no_credentials
from dfdc_kit.kaggle.retry import RetryPolicy, retry_call

TIMEOUT_S = 60.0  # without a byte, before a connection counts as dead
EXTRA = 'pip install "dfdc-starter-kit[kaggle]"'
Answer = TypeVar("Answer")


class Kaggle:
    """A signed-in client. Made by `connect`."""

    def __init__(self, api: Any, patience: RetryPolicy, timeout_s: float) -> None:
        self.api = api
        self.patience = patience
        self.timeout_s = timeout_s

    @property
    def user(self) -> str:
        """The name of the account."""
        return str(self.api.config_values.get("username", ""))

    def call(
        self,
        doing: str,
        function: Callable[[Any], Answer],
        *,
        slug: str = "",
        repeatable: bool = True,
        not_found: str = "",
    ) -> Answer:
        """The answer of `function(api)`, where `api` is a `kaggle.KaggleApi`. Raises KaggleError.

        `doing` ends the sentence "Kaggle refuses ... while {doing}"; `slug` names the competition for the hints, and
        `not_found` is the hint where Kaggle answers 404, if the caller knows a better one.
        The call is made again after 429, 5xx and broken connections, as `patience` says. With `repeatable=False`
        (it spends a submission, say) only where it certainly did nothing: after 429, or with no connection at all.
        """

        def attempt() -> Answer:
            with quiet_call(self.timeout_s):
                return function(self.api)

        try:
            return retry_call(doing, attempt, self.patience, slug=slug, repeatable=repeatable)
        except KaggleError as fault:
            if not_found and fault.reason == "not-found":
                raise KaggleError(str(fault), hint=not_found, reason=fault.reason) from None
            raise


def connect(*, patience: RetryPolicy | None = None, timeout_s: float = TIMEOUT_S) -> Kaggle:
    """Import the client and sign in. Raises KaggleError: package missing, no credentials, not accepted, no network."""
    found = sources()  # now: the client deletes a login that has expired
    if not found:
        raise no_credentials()
    kaggle = Kaggle(_client(), patience or RetryPolicy(), timeout_s)
    try:
        kaggle.call("signing in", lambda api: api.authenticate())
    except SystemExit:  # the client's way to say that nothing worked
        if found[0].kind == "token":
            raise bad_token(found[0].place, found[0].mend) from None
        message = f"Kaggle's client can do nothing with what is in {found[0].place}."
        raise KaggleError(message, hint=HOW, reason="bad-credentials") from None
    except KaggleError as fault:
        token = next((source for source in found if source.kind == "token"), None)
        if fault.reason == "bad-credentials" and token:
            raise bad_token(token.place, token.mend) from None
        raise
    _check_method(kaggle.api)
    return kaggle


def _check_method(api: Any) -> None:
    """Refuse what the client would do silently: send a token that is not valid in place of a key that is good."""
    method = str(api.config_values.get(api.CONFIG_NAME_AUTH_METHOD, ""))
    token = next((source for source in sources() if source.kind == "token"), None)
    if token and "ACCESS_TOKEN" not in method.upper():
        other = next((source.place for source in sources() if source.kind != "token"), "")
        raise bad_token(token.place, token.mend, other)


def _client() -> Any:
    """A `KaggleApi` that has not signed in yet, without its import's output, requests and debug mode."""
    try:
        with no_requests(), _without("VERBOSE", "VERBOSE_OUTPUT"):
            from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError as error:
        name = error.name or "kaggle"
        raise KaggleError(
            f"The package {name} is missing; it is needed to talk to Kaggle.", hint=EXTRA, reason="package"
        ) from None
    except OSError as error:  # it makes its settings folder as it is imported
        message = f"Kaggle's client cannot make its settings folder {error.filename}: {error.strerror}."
        raise KaggleError(message, hint="export KAGGLE_CONFIG_DIR=/tmp/kaggle", reason="settings") from None
    except ValueError as error:
        message = f"Kaggle's client cannot read its settings: {redacted(str(error))}"
        raise KaggleError(message, hint=HOW, reason="settings") from None
    api = KaggleApi()
    api.args = ["--local"] if os.environ.get("KAGGLE_API_ENVIRONMENT") == "LOCALHOST" else []
    return api


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """The environment without these variables: with VERBOSE, the client prints the Authorization header."""
    held = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)


TURN = threading.RLock()  # the changes below are seen by the whole process: one call at a time


@contextmanager
def quiet_call(timeout_s: float) -> Iterator[None]:
    """While this thread talks to Kaggle: no output of its own, and a timeout on every request without one."""
    with TURN, _muted(), _sending(lambda send, request, options: send(request, **_timed(options, timeout_s))):
        yield


@contextmanager
def no_requests() -> Iterator[None]:
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
