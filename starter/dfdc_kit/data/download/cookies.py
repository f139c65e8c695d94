"""The browser's session: a cookie file in Netscape's format, as browser extensions and curl write it."""

import http.cookiejar
import warnings
from http.cookiejar import MozillaCookieJar
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request

from dfdc_kit.errors import BadData, MissingData, UsageFault

HOW = (
    "Sign in to Kaggle in a browser, accept the competition's rules, export the cookies of www.kaggle.com with a "
    "cookies.txt extension, and give that file: --cookies cookies.txt"
)


def lent_cookies(path: Path | None, url: str) -> MozillaCookieJar:
    """`read_cookies`, for a pattern of addresses. Raises UsageFault if no file, or no pattern, is given."""
    if path is None:
        raise UsageFault("Parts are served to a signed-in browser only: its cookies are needed.", hint=HOW)
    try:
        return read_cookies(path, url.format(part=0))
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, BadData):
            raise
        raise UsageFault(f"{url!r} is no pattern of addresses.", hint="Write the number as {part:02d}") from None


def read_cookies(path: Path, url: str) -> MozillaCookieJar:
    """The cookies in `path`, of which at least one must go to the host of `url`. Raises MissingData, BadData.

    The jar keeps them to the hosts that they belong to: the storage that a download is sent on to gets none.
    """
    jar = MozillaCookieJar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the jar's own words on a bad line: a traceback
            jar.load(str(path), ignore_discard=True, ignore_expires=True)
    except FileNotFoundError as error:
        raise MissingData(f"There is no cookie file {path}.", hint=HOW) from error
    except (http.cookiejar.LoadError, UnicodeDecodeError, ValueError):  # their text shows the line: a secret
        message = f"{path} is not a cookie file in Netscape's format (its first line: # Netscape HTTP Cookie File)."
        raise BadData(message, hint=HOW) from None
    except OSError as error:
        raise MissingData(f"Cannot read {path}: {error.strerror}.", hint=HOW) from None
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
        raise BadData(message, hint=HOW)
    return jar


def _count(path: Path) -> str:
    lines = path.read_text("utf-8", errors="replace").splitlines()
    found = sum(line.count("\t") >= 6 for line in lines)
    return f"{found} cookie{'' if found == 1 else 's'}"
