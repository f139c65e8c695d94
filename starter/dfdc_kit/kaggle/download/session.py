"""HTTP sessions for downloads: without credentials, or with the cookies of a browser."""

import http.cookiejar
import warnings
from http.cookiejar import CookieJar, MozillaCookieJar
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import Request

from dfdc_kit import __version__
from dfdc_kit.errors import DataError, DataMissingError, KaggleError, UsageError
from dfdc_kit.formatting import plural
from dfdc_kit.kaggle.client import INSTALL

if TYPE_CHECKING:
    import requests

COOKIES_HINT = (
    "Sign in to Kaggle in a browser, accept the competition's rules, export the cookies of www.kaggle.com with a "
    "cookies.txt extension, and pass that file: --cookies cookies.txt"
)


def new_session(cookies: CookieJar | None = None) -> "requests.Session":
    """A new session. It asks for bytes without compression: compressed ones could not be resumed."""
    try:
        import requests
    except ImportError as error:
        message = f"The package {error.name} is missing."
        raise KaggleError(message, hint="Install the extra.", command=INSTALL, reason="package") from None
    session = requests.Session()
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": f"dfdc-starter-kit/{__version__}"})
    session.auth = _no_auth  # else a ~/.netrc would send a password to the storage
    if cookies is not None:
        session.cookies = cookies  # type: ignore[assignment]
    return session


def _no_auth(request: "requests.PreparedRequest") -> "requests.PreparedRequest":
    return request


def cookies_for(path: Path | None, url: str) -> MozillaCookieJar:
    """`read_cookies` for a URL pattern with {part}. Raises UsageError without a file, or with an invalid pattern."""
    if path is None:
        raise UsageError("Parts are served to a signed-in browser only: --cookies is missing.", hint=COOKIES_HINT)
    try:
        first = url.format(part=0)
    except (KeyError, IndexError, ValueError):
        raise UsageError(f"{url!r} is not a URL pattern.", hint="Write the number as {part:02d}.") from None
    return read_cookies(path, first)


def read_cookies(path: Path, url: str) -> MozillaCookieJar:
    """The cookies in `path`, of which at least one must match the host of `url`. Raises DataMissingError, DataError.

    The jar sends cookies only to their own hosts: the storage that a download is redirected to gets none.
    """
    jar = MozillaCookieJar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the jar prints a traceback for an invalid line
            jar.load(str(path), ignore_discard=True, ignore_expires=True)
    except FileNotFoundError as error:
        raise DataMissingError(f"Cookie file not found: {path}", hint=COOKIES_HINT) from error
    except (http.cookiejar.LoadError, UnicodeDecodeError, ValueError):  # their text shows the line: a secret
        message = f"{path} is not a cookie file in Netscape format (first line: # Netscape HTTP Cookie File)."
        raise DataError(message, hint=COOKIES_HINT) from None
    except OSError as error:
        raise DataMissingError(f"Cannot read {path}: {error.strerror}.", hint=COOKIES_HINT) from None
    for cookie in jar:
        if cookie.expires == 0:  # how extensions and curl write "until the browser is closed"; the jar reads "in 1970"
            cookie.expires, cookie.discard = None, True
    jar.clear_expired_cookies()
    request = Request(url)  # noqa: S310  # never opened: only asked which cookies it would carry
    jar.add_cookie_header(request)
    if not request.has_header("Cookie"):
        lines = path.read_text("utf-8", errors="replace").splitlines()
        count = plural(sum(line.count("\t") >= 6 for line in lines), "cookie")
        message = f"{path} has no valid cookie for {urlsplit(url).hostname}: {count} in all, expired or of other hosts."
        raise DataError(message, hint=COOKIES_HINT)
    return jar
