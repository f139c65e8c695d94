"""Retries with exponential back-off, by `tenacity`; a `Retry-After` header goes first."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import tenacity

from dfdc_kit.kaggle.errors import is_unreachable, translate

if TYPE_CHECKING:
    import requests

TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # statuses after which the same request may succeed
UNREACHABLE_ATTEMPTS = 3  # without any connection: offline users want to know soon
LONGEST_RETRY_AFTER_S = 900.0  # a longer one is an error, not a wait
Answer = TypeVar("Answer")


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a request is tried, and how long to wait in between."""

    attempts: int = 6  # in a row without progress
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    info: Callable[[str], None] = _silent  # gets a sentence before every wait

    def retrying(
        self,
        attempts_for: Callable[[BaseException], int],
        translated: Callable[[BaseException], Exception],
        before: Callable[[tenacity.RetryCallState], None] = lambda _: None,
    ) -> tenacity.Retrying:
        """A retrier. `attempts_for(error)` is the most attempts for such an error; 0: it is raised at once, as it is.

        Where attempts run out, `translated(error)` is raised in place of the error, whose text may hold signed links.
        """
        back_off = tenacity.wait_exponential_jitter(
            self.first_wait_s, self.longest_wait_s, jitter=self.first_wait_s / 2
        )

        def wait_s(state: tenacity.RetryCallState) -> float:
            asked_s = _retry_after(_error(state))
            return back_off(state) if asked_s is None else asked_s

        def is_over(state: tenacity.RetryCallState) -> bool:
            error = _error(state)
            too_long = (_retry_after(error) or 0) > LONGEST_RETRY_AFTER_S
            return too_long or state.attempt_number >= attempts_for(error)

        def announce(state: tenacity.RetryCallState) -> None:
            error, number = _error(state), state.attempt_number + 1
            self.info(f"{translated(error)} Attempt {number} of {attempts_for(error)} in {state.upcoming_sleep:.0f} s.")

        def give_up(state: tenacity.RetryCallState) -> None:
            raise translated(_error(state)) from None

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: attempts_for(error) > 0),
            wait=wait_s,
            stop=is_over,
            sleep=self.sleep,
            before=before,
            before_sleep=announce,
            retry_error_callback=give_up,
        )


def retry_call(
    doing: str, function: Callable[[], Answer], policy: RetryPolicy, *, slug: str = "", repeatable: bool = True
) -> Answer:
    """The answer of `function()`, called again after 429, 5xx and broken connections. Raises KaggleError.

    With `repeatable=False` it is called again only where it certainly had no effect: after 429, or with no connection.
    """

    def attempts_for(error: BaseException) -> int:
        if not _is_foreseeable(error):
            return 0
        if is_unreachable(error):
            return min(UNREACHABLE_ATTEMPTS, policy.attempts)
        return policy.attempts if _is_transient(error, repeatable) else 1

    return policy.retrying(attempts_for, lambda error: translate(error, doing, slug))(function)


def retry_after_s(response: "requests.Response | None") -> float | None:
    """The seconds that `Retry-After` asks for, given as a number or as a date; None without a valid one."""
    text = response.headers.get("Retry-After", "") if response is not None else ""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _retry_after(error: BaseException) -> float | None:
    return retry_after_s(getattr(error, "response", None))


def _error(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None  # noqa: S101  # tenacity asks only after a failure
    return error


def _is_foreseeable(error: BaseException) -> bool:
    """Whether the client raises such errors by design; a KitError from within the function is final as it is."""
    import requests

    from dfdc_kit.errors import KitError

    kinds = (requests.RequestException, ValueError, KeyError, OSError)
    return isinstance(error, kinds) and not isinstance(error, KitError)


def _is_transient(error: BaseException, repeatable: bool) -> bool:
    import requests

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status == 429 or (repeatable and status in TRANSIENT)
    return repeatable and isinstance(error, requests.ConnectionError | requests.Timeout)
