"""Numbers on the command line: one that is out of range is wrong usage, told as argparse tells it."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def at_least(least: Number) -> Callable[[str], Number]:
    """Reads a number of the kind of `least`, for argparse's `type`."""

    def read(text: str) -> Number:
        try:
            value = type(least)(text)
        except ValueError:
            kind = "a whole number" if isinstance(least, int) else "a number"
            raise ArgumentTypeError(f"expected {kind}, got {text!r}") from None
        if not value >= least:
            raise ArgumentTypeError(f"expected at least {least}, got {text!r}")
        return value

    return read


def share(text: str) -> float:
    """Reads a number from 0 to 1, for argparse's `type`."""
    value = at_least(0.0)(text)
    if value > 1:
        raise ArgumentTypeError(f"expected at most 1, got {text!r}")
    return value
