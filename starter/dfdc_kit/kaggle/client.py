"""Calls to Kaggle through its own client: signed in once, retried, silenced, with timeouts, errors translated."""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

from dfdc_kit.errors import KaggleError
from dfdc_kit.kaggle.credentials import SIGN_IN_HINT, redacted, sources
from dfdc_kit.kaggle.errors import bad_token, broken_credentials, no_credentials
from dfdc_kit.kaggle.retry import RetryPolicy, retry_call

TIMEOUT_S = 60.0  # without a byte
INSTALL = 'pip install "dfdc-starter-kit[kaggle]"'
Answer = TypeVar("Answer")


class Kaggle:
    """A signed-in client. Made by `connect`."""

    def __init__(self, api: Any, retry: RetryPolicy, timeout_s: float) -> None:
        self.api = api
        self.retry = retry
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

        `doing` completes error messages ("Rate-limited by Kaggle (429), {doing}."), `slug` names the competition for
        hints, and `not_found` replaces the hint of a 404. The call is repeated after 429, 5xx and broken connections;
        with `repeatable=False` (it uses up a submission, say) only where it certainly had no effect.
        """

        def attempt() -> Answer:
            with quiet_call(self.timeout_s):
                return function(self.api)

        try:
            return retry_call(doing, attempt, self.retry, slug=slug, repeatable=repeatable)
        except KaggleError as error:
            if not_found and error.reason == "not-found":
                raise KaggleError(str(error), hint=not_found, reason=error.reason) from None
            raise


def connect(*, retry: RetryPolicy | None = None, timeout_s: float = TIMEOUT_S) -> Kaggle:
    """Import the client and sign in. Raises KaggleError: no package, no credentials, rejected, no network."""
    found = sources()  # read now: the client deletes a login that has expired
    if not found:
        raise no_credentials()
    if found[0].fault:
        raise broken_credentials(found[0])
    kaggle = Kaggle(_client(), retry or RetryPolicy(), timeout_s)
    token = next((source for source in found if source.kind == "token"), None)
    try:
        kaggle.call("signing in", lambda api: api.authenticate())
    except SystemExit:  # how the client says that nothing worked
        if found[0].kind == "token":
            raise bad_token(found[0]) from None
        message = f"Kaggle's client cannot use the credentials in {found[0].place}."
        raise KaggleError(message, hint=SIGN_IN_HINT, reason="bad-credentials") from None
    except KaggleError as error:
        if error.reason == "bad-credentials" and token:
            raise bad_token(token) from None
        raise
    method = str(kaggle.api.config_values.get(kaggle.api.CONFIG_NAME_AUTH_METHOD, ""))
    if token and "ACCESS_TOKEN" not in method.upper():  # it would still send the rejected token, not the key
        raise bad_token(token, next((source.place for source in found if source.kind != "token"), ""))
    return kaggle


def _client() -> Any:
    """A `KaggleApi` that has not signed in yet, without its import's output, requests and debug mode."""
    try:
        with no_requests(), _without("VERBOSE", "VERBOSE_OUTPUT"):
            from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError as error:
        message = f"The package {error.name or 'kaggle'} is missing; it is needed to talk to Kaggle."
        raise KaggleError(message, hint="Install the extra.", command=INSTALL, reason="package") from None
    except OSError as error:  # it makes its settings folder when it is imported
        message = f"Kaggle's client cannot make its settings folder {error.filename}: {error.strerror}."
        hint = "Give it another folder."
        raise KaggleError(
            message, hint=hint, command="export KAGGLE_CONFIG_DIR=/tmp/kaggle", reason="settings"
        ) from None
    except ValueError as error:
        message = f"Kaggle's client cannot read its settings: {redacted(str(error))}"
        raise KaggleError(message, hint=SIGN_IN_HINT, reason="settings") from None
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


PATCH_LOCK = threading.RLock()  # the patches below are seen by the whole process: one call at a time


@contextmanager
def quiet_call(timeout_s: float) -> Iterator[None]:
    """While this thread talks to Kaggle: no output of the client, and a timeout on every request without one."""

    def with_timeout(send: Any, request: Any, options: dict[str, Any]) -> Any:
        return send(request, **{**options, "timeout": options.get("timeout") or timeout_s})

    with PATCH_LOCK, _muted(), _requests_through(with_timeout):
        yield


@contextmanager
def no_requests() -> Iterator[None]:
    """While `kaggle` is imported: no output, no request (it would introspect the token, without a timeout)."""
    import requests

    def refuse(_send: Any, request: Any, _options: Any) -> Any:
        raise requests.ConnectionError("no requests during import", request=request)

    with PATCH_LOCK, _muted(), _requests_through(refuse):
        yield


@contextmanager
def _requests_through(via: Any) -> Iterator[None]:
    """Every request of the process goes through `via`: the client makes its own sessions, out of reach."""
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
    """Drop what this thread prints; what other threads print (a progress bar) is shown as usual."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _MutedForThread(out), _MutedForThread(err)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


class _MutedForThread(io.TextIOBase):
    """A text stream that ignores the thread that made it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._muted_thread = threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() != self._muted_thread:
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return threading.get_ident() != self._muted_thread and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
