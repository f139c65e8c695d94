"""Which part of the history is wanted, and the history as a table for other programs."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import msgspec

from dfdc_kit.errors import UsageFault
from dfdc_kit.history.event import Event
from dfdc_kit.history.store import COLUMNS

UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def since(words: str) -> str:
    """The beginning of a span of time, as the history writes it: from "7d", "36h", "2w" or an ISO date, UTC.

    Raises UsageFault.
    """
    ago = re.fullmatch(r"(\d{1,5})([hdw])", words.strip())
    if ago:
        start = datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return start.isoformat(timespec="seconds")
    try:
        start = datetime.fromisoformat(words.strip())
    except ValueError as error:
        raise UsageFault(
            f"{words!r} is no time.", hint="For example: --since 2026-11-24, --since 7d, --since 36h"
        ) from error
    return (start if start.tzinfo else start.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")


def as_csv(events: list[Event]) -> str:
    """One line an event, the names of the columns first; what is not known is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for event in events:
        values = msgspec.to_builtins(event)
        table.writerow("" if values[name] is None else values[name] for name in COLUMNS)
    return text.getvalue()
