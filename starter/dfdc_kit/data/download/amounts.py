"""Bytes and seconds as a person reads them."""


def amount(count_bytes: float) -> str:
    """A number of bytes: "999 bytes", "4.2 MiB", "11.5 GiB"."""
    if count_bytes < 1000:
        return f"{count_bytes:,.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count_bytes /= 1024
        if count_bytes < 1000 or unit == "GiB":
            break
    return f"{count_bytes:,.0f} {unit}" if count_bytes >= 100 else f"{count_bytes:.1f} {unit}"


def duration(wall_time_s: float) -> str:
    """A time: "12 s", "3 min", "1.5 h"."""
    if wall_time_s < 100:
        return f"{wall_time_s:.0f} s"
    return f"{wall_time_s / 60:.0f} min" if wall_time_s < 6000 else f"{wall_time_s / 3600:.1f} h"
