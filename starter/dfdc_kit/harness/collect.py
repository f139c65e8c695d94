"""What a run leaves behind, taken over with suspicion: its author may have put anything in its place."""

import csv
import io
import os
import stat
from collections import Counter
from pathlib import Path

from dfdc_kit.files import write_bytes
from dfdc_kit.report.run_report import Fallbacks

SIDE_FILE_LIMIT_BYTES = 16 << 20
LOOK_BACK_BYTES = 1 << 15
MANY_FALLBACKS = 0.05  # of the videos; broken files and pictures without a face are rarer in the challenge's own sets


def collect(source: Path, target: Path, limit_bytes: int) -> str:
    """Copy an ordinary file to `target`: "collected", or the reason why not. Links, pipes and devices are refused."""
    content = _read(source, limit_bytes)
    if isinstance(content, str):
        return content
    write_bytes(target, content)
    return "collected"


def collect_fallbacks(source: Path, target: Path, known: set[str]) -> Fallbacks:
    """Take over and count the side file `fallbacks.csv` (columns filename,reason), if there is one without a fault.

    known: all row ids. More fallbacks than MANY_FALLBACKS of them are worth a caution.
    """
    content = _read(source, SIDE_FILE_LIMIT_BYTES)
    if isinstance(content, str):
        return Fallbacks() if content == "missing" else Fallbacks(fault=content)
    text = content.decode("utf-8", errors="replace")
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        return Fallbacks(fault=str(error))
    if not rows or [name.strip() for name in rows[0]] != ["filename", "reason"]:
        return Fallbacks(fault="its header is not filename,reason")
    by_name: dict[str, str] = {}
    broken = []
    for row in rows[1:]:
        if len(row) == 2 and row[0] in known and row[0] not in by_name:
            by_name[row[0]] = row[1][:80]
        else:
            broken.append(",".join(row))
    if broken:
        fault = f"{len(broken)} of its rows: no name of a test video and a reason, or a name for the second time"
        return Fallbacks(fault=f"{fault}; the first: {broken[0]!r:.80}")
    write_bytes(target, content)
    return Fallbacks(
        count=len(by_name),
        by_reason=dict(Counter(by_name.values())),
        first=list(by_name)[:10],
        caution=_caution(len(by_name), len(known)),
    )


def _caution(fallbacks: int, videos: int) -> str:
    """A sentence if the share of fallbacks is above MANY_FALLBACKS, else nothing."""
    if not fallbacks > MANY_FALLBACKS * videos:
        return ""
    share = f"{fallbacks / videos:.0%} of the videos, more than {MANY_FALLBACKS:.0%}"
    return f"fallbacks on {share}: the score says little about the model"


def fallback_rows(path: Path) -> set[str]:
    """The row ids that a side file taken over by `collect_fallbacks` names; empty if there is none."""
    if not path.is_file():
        return set()
    text = path.read_bytes().decode("utf-8", errors="replace")
    try:
        return {row[0] for row in csv.reader(io.StringIO(text)) if len(row) == 2}
    except csv.Error:
        return set()


def last_lines(log: Path, count: int = 40) -> list[str]:
    """The last lines of a log, decoded leniently."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOOK_BACK_BYTES))
        return file.read().decode("utf-8", errors="replace").splitlines()[-count:]


def _read(path: Path, limit_bytes: int) -> bytes | str:
    """The content of an ordinary file, or why it has none for us. Never follows a link, never waits for a writer."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return "missing"
    except OSError:  # a link (ELOOP), a socket (ENXIO), forbidden
        return "not a regular file that can be read"
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode):
        os.close(handle)
        return "not a regular file"
    with os.fdopen(handle, "rb") as file:
        if state.st_size > limit_bytes:
            return f"larger than {limit_bytes} bytes"
        return file.read(limit_bytes)
