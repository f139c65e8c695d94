"""How long to wait before a request is made again, and how often: back-off that honours Retry-After."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from dfdc_kit.kaggle.errors import translate, unreachable

if TYPE_CHECKING:
    import requests


AGAIN = {408, 425, 429, 500, 502, 503, 504}  # statuses after which the same request may succeed
UNREACHED = 3  # failures without any connection: who is offline wants to know soon
LONGEST_ASKED_S = 900.0  # of Retry-After; what asks for more is told to the user instead


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Waits of 1, 2, 4 ... seconds, shortened by chance so that many clients do not come back at once."""

    failures: int = 6  # in a row, before it is given up
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    sleep: Callable[[float], object] = time.sleep
    say: Callable[[str], None] = _silent  # told of every wait, in a sentence

    def wait_s(self, failures: int, asked_s: float | None = None) -> float:
        """Seconds to wait after `failures` failures in a row; what the server asked for goes first."""
        if asked_s is not None:
            return asked_s
        longest = min(self.first_wait_s * 2.0 ** (failures - 1), self.longest_wait_s)
        return longest * random.uniform(0.5, 1.0)

    def wait(self, failures: int, why: str, asked_s: float | None = None, *, most: int = 0) -> None:
        """Wait before the next attempt, of `most` or as many as ever, and say so."""
        wait_s = self.wait_s(failures, asked_s)
        self.say(f"{why} Attempt {failures + 1} of {most or self.failures} in {wait_s:.0f} s.")
        self.sleep(wait_s)


def retry_after_s(response: "requests.Response | None") -> float | None:
    """The seconds that `Retry-After` asks for, given as a number or as a date; None if it does not."""
    text = response.headers.get("Retry-After", "") if response is not None else ""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


Answer = TypeVar("Answer")


def retry_call(
    doing: str, attempt: Callable[[], Answer], patience: RetryPolicy, *, slug: str = "", repeatable: bool = True
) -> Answer:
    """The answer of `attempt()`, which is made again after 429, 5xx and broken connections. Raises KaggleError.

    With `repeatable=False` it is made again only where it certainly did nothing: after 429, or with no connection.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except Exception as error:
            if not _foreseeable(error):
                raise
            failures += 1
            fault = translate(error, doing, slug)
            asked_s = retry_after_s(getattr(error, "response", None))
            most = _most(error, patience, repeatable)
            if failures >= most or (asked_s or 0) > LONGEST_ASKED_S:
                raise fault from None  # the cause holds signed links and headers
            patience.wait(failures, str(fault), asked_s, most=most)


def _foreseeable(error: Exception) -> bool:
    """The client raises these; a KaggleError that comes from within `attempt` is final as it is."""
    import requests

    return isinstance(error, requests.RequestException | ValueError | KeyError | OSError)


def _most(error: Exception, patience: RetryPolicy, repeatable: bool) -> int:
    """How many failures like `error` are suffered."""
    import requests

    if unreachable(error):
        return min(UNREACHED, patience.failures)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return patience.failures if status == 429 or (repeatable and status in AGAIN) else 0
    broken = isinstance(error, requests.ConnectionError | requests.Timeout)
    return patience.failures if broken and repeatable else 0
