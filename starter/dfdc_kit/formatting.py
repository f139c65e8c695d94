"""Counts, names, bytes and seconds as a person reads them."""

from collections.abc import Iterable


def plural(count: int, singular: str, plural: str = "") -> str:
    """`1 row`, `1,234 rows`."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def join_names(names: Iterable[str], most: int = 5) -> str:
    """`a, b, c ...`."""
    names = list(names)
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def format_bytes(count_bytes: float) -> str:
    """A number of bytes: "999 bytes", "4.2 MiB", "11.5 GiB"."""
    if count_bytes < 1000:
        return f"{count_bytes:,.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count_bytes /= 1024
        if count_bytes < 1000 or unit == "GiB":
            break
    return f"{count_bytes:,.0f} {unit}" if count_bytes >= 100 else f"{count_bytes:.1f} {unit}"


def clock(time_s: float) -> str:
    """A time in three digits: "0.0123 s", "10.3 min", "1,190 h".

    >>> [clock(time_s) for time_s in (0.01234, 119.96, 620, 7100, 12_000, 4_284_000)]
    ['0.0123 s', '120 s', '10.3 min', '118 min', '3.33 h', '1,190 h']
    """
    if time_s < 120:
        return f"{time_s:.3g} s"
    if time_s < 7200:
        return f"{time_s / 60:.3g} min"
    return f"{time_s / 3600:.3g} h" if time_s < 3.6e6 else f"{time_s / 3600:,.0f} h"


def duration(wall_time_s: float) -> str:
    """A time, roughly: "12 s", "3 min", "1.5 h"."""
    if wall_time_s < 100:
        return f"{wall_time_s:.0f} s"
    return f"{wall_time_s / 60:.0f} min" if wall_time_s < 6000 else f"{wall_time_s / 3600:.1f} h"
