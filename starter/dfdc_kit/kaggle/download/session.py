"""How bytes travel: sessions that fetch without credentials, or with the cookies of a browser."""

import http.cookiejar
import threading
import warnings
from dataclasses import replace
from http.cookiejar import CookieJar, MozillaCookieJar
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import Request

from dfdc_kit import __version__
from dfdc_kit.errors import DataError, DataMissingError, KaggleError, UsageError
from dfdc_kit.kaggle.download.fetch import Watcher, Wire
from dfdc_kit.kaggle.retry import RetryPolicy

if TYPE_CHECKING:
    import requests


FAILURES = 12  # in a row and without a byte between them: some six minutes


def new_wire(watcher: Watcher, patience: RetryPolicy, timeout_s: float, stop: threading.Event) -> Wire:
    """What the transfers of one command share; they bear more failures than a call, as nights have bad minutes."""
    patient = replace(patience, failures=FAILURES)
    return Wire(session=new_session, watcher=watcher, patience=patient, timeout_s=timeout_s, stop=stop)


def new_session(cookies: CookieJar | None = None) -> "requests.Session":
    """A session of its own. It asks for bytes as they are: packed ones could not be resumed."""
    try:
        import requests
    except ImportError as error:
        hint = 'pip install "dfdc-starter-kit[kaggle]"'
        raise KaggleError(f"The package {error.name} is missing.", hint=hint, reason="package") from None
    session = requests.Session()
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": f"dfdc-starter-kit/{__version__}"})
    session.auth = _no_auth  # else a ~/.netrc would send a password to the storage
    if cookies is not None:
        session.cookies = cookies  # type: ignore[assignment]
    return session


def _no_auth(request: "requests.PreparedRequest") -> "requests.PreparedRequest":
    return request


HOW = (
    "Sign in to Kaggle in a browser, accept the competition's rules, export the cookies of www.kaggle.com with a "
    "cookies.txt extension, and give that file: --cookies cookies.txt"
)


def lent_cookies(path: Path | None, url: str) -> MozillaCookieJar:
    """`read_cookies`, for a pattern of addresses. Raises UsageError if no file, or no pattern, is given."""
    if path is None:
        raise UsageError("Parts are served to a signed-in browser only: its cookies are needed.", hint=HOW)
    try:
        return read_cookies(path, url.format(part=0))
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise UsageError(f"{url!r} is no pattern of addresses.", hint="Write the number as {part:02d}") from None


def read_cookies(path: Path, url: str) -> MozillaCookieJar:
    """The cookies in `path`, of which at least one must go to the host of `url`. Raises DataMissingError, DataError.

    The jar keeps them to the hosts that they belong to: the storage that a download is sent on to gets none.
    """
    jar = MozillaCookieJar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the jar's own words on a bad line: a traceback
            jar.load(str(path), ignore_discard=True, ignore_expires=True)
    except FileNotFoundError as error:
        raise DataMissingError(f"There is no cookie file {path}.", hint=HOW) from error
    except (http.cookiejar.LoadError, UnicodeDecodeError, ValueError):  # their text shows the line: a secret
        message = f"{path} is not a cookie file in Netscape's format (its first line: # Netscape HTTP Cookie File)."
        raise DataError(message, hint=HOW) from None
    except OSError as error:
        raise DataMissingError(f"Cannot read {path}: {error.strerror}.", hint=HOW) from None
    for cookie in jar:
        if cookie.expires == 0:  # how extensions and curl write "until the browser is closed"; the jar reads "in 1970"
            cookie.expires, cookie.discard = None, True
    jar.clear_expired_cookies()
    request = Request(url)  # noqa: S310  # never opened: only asked which cookies it would carry
    jar.add_cookie_header(request)
    if not request.has_header("Cookie"):
        message = (
            f"{path} holds no valid cookie for {urlsplit(url).hostname}: {_count(path)} in all, others or expired."
        )
        raise DataError(message, hint=HOW)
    return jar


def _count(path: Path) -> str:
    lines = path.read_text("utf-8", errors="replace").splitlines()
    found = sum(line.count("\t") >= 6 for line in lines)
    return f"{found} cookie{'' if found == 1 else 's'}"
