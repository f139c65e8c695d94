"""Translates what Kaggle's client and `requests` raise into KaggleErrors: what happened, and what to do about it."""

import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dfdc_kit.errors import KaggleError
from dfdc_kit.kaggle.credentials import SIGN_IN_HINT, Source, redacted, sources

if TYPE_CHECKING:
    import requests

CLOCK_SKEW_S = 300  # with a larger one, signatures and tokens are refused
WAIT = "Wait some minutes, then run the same command again; it continues where it stopped."


def translate(error: BaseException, doing: str, slug: str = "") -> KaggleError:
    """The KaggleError for `error`, raised while `doing` ("listing the files"); `slug` names the competition."""
    import requests
    from urllib3.exceptions import HTTPError

    response = getattr(error, "response", None)
    if response is not None:
        return from_response(response, doing, slug)
    if isinstance(error, requests.RequestException | HTTPError):
        return _no_answer(error, doing)
    return KaggleError(f"Kaggle's client failed while {doing}: {redacted(str(error))}", reason="client")


def from_response(response: "requests.Response", doing: str, slug: str = "") -> KaggleError:
    """The KaggleError for an answer with an error status."""
    status, message, skew = response.status_code, message_of(response), clock_note(response)
    if status == 401 or (status == 403 and "unauth" in message.lower()):
        return _bad_credentials(skew)
    if status == 403 and "rules" in message.lower():
        page = f"https://www.kaggle.com/competitions/{slug}/rules"
        hint = f"Open {page} in a browser, join the competition and accept its rules."
        return KaggleError(f"The competition's rules are not accepted yet (403), {doing}.", hint=hint, reason="rules")
    also = f"; {skew}" if skew else ""
    if status == 403:
        hint = f"Check that this account has joined the competition, and the name{also}."
        return KaggleError(f"Kaggle refused the request (403), {doing}: {message}{also}.", hint=hint, reason="refused")
    if status == 404:
        hint = "Check the name; an ended competition may not serve it any more."
        return KaggleError(f"Not found on Kaggle (404), {doing}: {message}.", hint=hint, reason="not-found")
    if status == 429:
        return KaggleError(f"Rate-limited by Kaggle (429), {doing}.", hint=WAIT, reason="too-many-requests")
    if status >= 500:
        return KaggleError(f"Kaggle server error ({status}), {doing}: {message}.", hint=WAIT, reason="server")
    return KaggleError(f"Kaggle refused the request ({status}), {doing}: {message}.", reason="refused")


def message_of(response: "requests.Response") -> str:
    """The server's own message, without secrets; the status phrase if there is none."""
    try:
        body = response.json()
        inner = body.get("error", body)
        message = str(inner.get("message") or "") if isinstance(inner, dict) else str(inner)
    except (ValueError, AttributeError, OSError):  # not JSON, not an object, or cut off
        message = ""
    return redacted(" ".join(message.split()).rstrip("."))[:300] or response.reason or "no reason given"


def clock_note(response: "requests.Response") -> str:
    """A phrase about this machine's clock, if the server's `Date` differs by more than five minutes; else empty."""
    try:
        ahead_s = time.time() - parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return ""
    if abs(ahead_s) <= CLOCK_SKEW_S:
        return ""
    direction = "ahead of" if ahead_s > 0 else "behind"
    return f"this machine's clock is {abs(ahead_s) / 60:,.0f} minutes {direction} Kaggle's"


def bad_token(token: Source, other: str = "") -> KaggleError:
    """A token that Kaggle does not accept; `other` names valid credentials that the client ignores because of it."""
    if other:
        message = f"Kaggle rejects the token in {token.place}; its client sends it instead of the key in {other}."
        hint = f"Remove the token; then {other} is used."
        return KaggleError(message, hint=hint, command=token.remove, reason="bad-credentials")
    return KaggleError(f"Kaggle rejects the token in {token.place}.", hint=SIGN_IN_HINT, reason="bad-credentials")


def no_credentials() -> KaggleError:
    """No credentials at all."""
    places = "KAGGLE_API_TOKEN, ~/.kaggle/access_token, KAGGLE_USERNAME with KAGGLE_KEY, kaggle.json, kaggle auth login"
    return KaggleError(f"No Kaggle credentials found in {places}.", hint=SIGN_IN_HINT, reason="no-credentials")


def broken_credentials(source: Source) -> KaggleError:
    """A credentials file that cannot be used as it is."""
    message = f"{source.place} {source.fault}."
    hint = "Make it readable." if "cannot be read" in source.fault else f"Replace it. {SIGN_IN_HINT}"
    return KaggleError(message, hint=hint, reason="bad-credentials")


def _bad_credentials(skew: str) -> KaggleError:
    place = next((source.place for source in sources()), "use")
    message = f"Kaggle rejects the credentials in {place} (401)"
    if skew:
        command = "sudo timedatectl set-ntp true"
        return KaggleError(f"{message}, and {skew}.", hint="Set the clock.", command=command, reason="clock")
    return KaggleError(f"{message}.", hint=SIGN_IN_HINT, reason="bad-credentials")


def _no_answer(error: Exception, doing: str) -> KaggleError:
    import requests
    from urllib3.exceptions import TimeoutError as NoAnswer

    if isinstance(error, requests.exceptions.ProxyError):
        message = f"The proxy {_proxy()} does not answer or refuses the request, {doing}."
        return KaggleError(message, hint="Correct or unset HTTPS_PROXY, or ask your administrator.", reason="proxy")
    if isinstance(error, requests.exceptions.SSLError):
        hint = "Behind a TLS-inspecting proxy: export REQUESTS_CA_BUNDLE=its-certificate.pem. Else check the clock."
        return KaggleError(f"Kaggle's certificate cannot be verified, {doing}.", hint=hint, reason="certificate")
    if isinstance(error, requests.exceptions.Timeout | NoAnswer):
        return KaggleError(f"Timeout: no answer from Kaggle, {doing}.", hint=WAIT, reason="timeout")
    if is_unreachable(error):
        hint = "Check the network: does https://www.kaggle.com open in a browser?"
        return KaggleError(f"Cannot connect to Kaggle, {doing}.", hint=hint, reason="offline")
    return KaggleError(f"The connection to Kaggle was lost, {doing}.", hint=WAIT, reason="broken-connection")


def is_unreachable(error: BaseException) -> bool:
    """Whether no connection was made at all: nothing was sent, so nothing can have happened."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    return any(isinstance(one, NewConnectionError | ConnectTimeoutError) for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and the errors inside it."""
    waiting = [error]
    while waiting:
        one = waiting.pop()
        yield one
        inner = [*getattr(one, "args", ()), getattr(one, "reason", None), one.__cause__]
        waiting += [below for below in inner if isinstance(below, BaseException)]


def _proxy() -> str:
    """The proxy in use, without the password that its address may hold."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        if value := os.environ.get(name):
            split = urlsplit(value if "//" in value else f"//{value}")
            return f"{split.hostname}:{split.port} (from {name})"
    return "in use"
