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


def format_time(time_s: float, digits: int = 3) -> str:
    """A time of `digits` significant digits: "0.0123 s", "10.3 min", "1,190 h".

    >>> [format_time(time_s) for time_s in (0.01234, 119.94, 620, 7100, 12_000, 4_284_000)]
    ['0.0123 s', '120 s', '10.3 min', '118 min', '3.33 h', '1,190 h']
    >>> [format_time(time_s, 2) for time_s in (36.2, 620, 7100, 12_345)]
    ['36 s', '10 min', '120 min', '3.4 h']
    """
    value, unit = (time_s, "s") if time_s < 120 else (time_s / 60, "min") if time_s < 7200 else (time_s / 3600, "h")
    return f"{float(f'{value:.{digits}g}'):,.10g} {unit}"
