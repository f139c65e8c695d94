"""A request made again until it succeeds, or until it is clear that it will not."""

from collections.abc import Callable
from typing import TypeVar

from dfdc_kit.kaggle_client.faults import explained, unreachable
from dfdc_kit.kaggle_client.patience import AGAIN, LONGEST_ASKED_S, UNREACHED, Patience, retry_after_s

Answer = TypeVar("Answer")


def persistently(
    doing: str, attempt: Callable[[], Answer], patience: Patience, *, slug: str = "", repeatable: bool = True
) -> Answer:
    """The answer of `attempt()`, which is made again after 429, 5xx and broken connections. Raises KaggleFault.

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
            fault = explained(error, doing, slug)
            asked_s = retry_after_s(getattr(error, "response", None))
            most = _most(error, patience, repeatable)
            if failures >= most or (asked_s or 0) > LONGEST_ASKED_S:
                raise fault from None  # the cause holds signed links and headers
            patience.wait(failures, str(fault), asked_s, most=most)


def _foreseeable(error: Exception) -> bool:
    """The client raises these; a KaggleFault that comes from within `attempt` is final as it is."""
    import requests

    return isinstance(error, requests.RequestException | ValueError | KeyError | OSError)


def _most(error: Exception, patience: Patience, repeatable: bool) -> int:
    """How many failures like `error` are suffered."""
    import requests

    if unreachable(error):
        return min(UNREACHED, patience.failures)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return patience.failures if status == 429 or (repeatable and status in AGAIN) else 0
    broken = isinstance(error, requests.ConnectionError | requests.Timeout)
    return patience.failures if broken and repeatable else 0
