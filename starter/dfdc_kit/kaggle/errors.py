"""What the client raises, as a sentence that says what happened and what to do."""

import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dfdc_kit.errors import KaggleError
from dfdc_kit.kaggle.credentials import HOW, redacted, sources

if TYPE_CHECKING:
    import requests

SKEW_S = 300  # a clock that is further off than this makes signatures and tokens fail
WAIT = "Wait some minutes, then run the same command again; it goes on where it stopped"


def translate(error: Exception, doing: str, slug: str = "") -> KaggleError:
    """The fault behind `error`, which came while `doing` ("listing the files"); `slug` names the competition."""
    import requests
    from urllib3.exceptions import HTTPError

    response = getattr(error, "response", None)
    if response is not None:
        return from_response(response, doing, slug)
    if isinstance(error, requests.RequestException | HTTPError):
        return _unanswered(error, doing)
    return KaggleError(f"Kaggle's client failed while {doing}: {redacted(str(error))}", reason="client")


def from_response(response: "requests.Response", doing: str, slug: str = "") -> KaggleError:
    """The fault behind an answer with an error status."""
    status, said = response.status_code, message_of(response)
    skew = clock_note(response)
    if status == 401 or (status == 403 and "unauth" in said.lower()):
        return _bad_credentials(skew)
    if status == 403 and "rules" in said.lower():
        hint = (
            f"Open https://www.kaggle.com/competitions/{slug}/rules in a browser, join and accept; then run this again"
        )
        return KaggleError(
            f"Kaggle wants the competition's rules accepted first, while {doing}.", hint=hint, reason="rules"
        )
    if status == 403:
        hint = "Check that this account has joined the competition, and that the name is right" + _also(skew)
        return KaggleError(f"Kaggle refuses (403) {doing}: {said}{_also(skew)}.", hint=hint, reason="refused")
    if status == 404:
        hint = "Check the name; what has ended may not be served any more"
        return KaggleError(f"Kaggle does not have it (404), {doing}: {said}.", hint=hint, reason="not-found")
    if status == 429:
        return KaggleError(f"Kaggle wants fewer requests (429), {doing}.", hint=WAIT, reason="too-many-requests")
    if status >= 500:
        return KaggleError(f"Kaggle has a fault of its own ({status}), {doing}: {said}.", hint=WAIT, reason="server")
    return KaggleError(f"Kaggle refuses ({status}) {doing}: {said}.", reason="refused")


def message_of(response: "requests.Response") -> str:
    """What the server says about its refusal, without secrets; the status phrase if it says nothing."""
    try:
        body = response.json()
        inner = body.get("error", body)
        said = str(inner.get("message") or "") if isinstance(inner, dict) else str(inner)
    except (ValueError, AttributeError, OSError):  # not JSON, not an object, or cut off
        said = ""
    return redacted(" ".join(said.split()).rstrip("."))[:300] or response.reason or "no reason given"


def clock_note(response: "requests.Response") -> str:
    """A sentence about this machine's clock, if the server's `Date` differs by more than five minutes; else empty."""
    try:
        ahead_s = time.time() - parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return ""
    if abs(ahead_s) <= SKEW_S:
        return ""
    return (
        f"this machine's clock is {abs(ahead_s) / 60:,.0f} minutes {'ahead of' if ahead_s > 0 else 'behind'} Kaggle's"
    )


def bad_token(place: str, mend: str, other: str = "") -> KaggleError:
    """A token that Kaggle does not know; `other` names good credentials that it stands in front of."""
    if other:
        message = f"Kaggle does not know the token in {place}, yet its client sends it in place of what is in {other}."
        return KaggleError(message, hint=f"{mend}   (then {other} is used)", reason="bad-credentials")
    return KaggleError(f"Kaggle does not know the token in {place}.", hint=HOW, reason="bad-credentials")


def no_credentials() -> KaggleError:
    """There is nothing to sign in with."""
    looked = "KAGGLE_API_TOKEN, ~/.kaggle/access_token, KAGGLE_USERNAME with KAGGLE_KEY, kaggle.json, kaggle auth login"
    return KaggleError(f"There are no Kaggle credentials. Looked for: {looked}.", hint=HOW, reason="no-credentials")


def _bad_credentials(skew: str) -> KaggleError:
    places = " and ".join(source.place for source in sources()[:1]) or "use"
    message = f"Kaggle does not accept the credentials in {places} (401)"
    if skew:
        return KaggleError(
            f"{message}, and {skew}.", hint="Set the clock: sudo timedatectl set-ntp true", reason="clock"
        )
    return KaggleError(f"{message}.", hint=HOW, reason="bad-credentials")


def _unanswered(error: Exception, doing: str) -> KaggleError:
    import requests
    from urllib3.exceptions import TimeoutError as NoAnswer

    if isinstance(error, requests.exceptions.ProxyError):
        message = f"The proxy {_proxy()} does not answer or refuses, while {doing}."
        return KaggleError(message, hint="Correct or unset HTTPS_PROXY, or ask who runs the proxy", reason="proxy")
    if isinstance(error, requests.exceptions.SSLError):
        hint = "Behind a firewall that reads along: export REQUESTS_CA_BUNDLE=its-certificate.pem. Else check the clock"
        return KaggleError(f"Kaggle's certificate cannot be verified, while {doing}.", hint=hint, reason="certificate")
    if isinstance(error, requests.exceptions.Timeout | NoAnswer):
        return KaggleError(f"Kaggle did not answer in time, while {doing}.", hint=WAIT, reason="timeout")
    if unreachable(error):
        hint = "Check the network: does https://www.kaggle.com open in a browser?"
        return KaggleError(f"Kaggle cannot be reached, while {doing}.", hint=hint, reason="offline")
    return KaggleError(f"The connection to Kaggle broke, while {doing}.", hint=WAIT, reason="broken-connection")


def unreachable(error: BaseException) -> bool:
    """Whether no connection came about at all: nothing was sent, so nothing can have happened."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    return any(isinstance(one, NewConnectionError | ConnectTimeoutError) for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it was made from."""
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


def _also(note: str) -> str:
    return f"; {note}" if note else ""
