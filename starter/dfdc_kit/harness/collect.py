"""Collects the files that a run leaves, without trusting them: a link, pipe or huge file may be in their place."""

import csv
import io
import os
import stat
from collections import Counter
from pathlib import Path

from dfdc_kit.files import shown_name, write_bytes
from dfdc_kit.formatting import plural
from dfdc_kit.report.run_report import FALLBACKS, Fallbacks

SIDE_FILE_LIMIT_BYTES = 16 << 20
LOOK_BACK_BYTES = 1 << 15
MOST_LINE_BYTES = 1 << 14
MANY_FALLBACKS = (
    0.05  # share of the videos; unreadable files and frames without a face are rarer in the challenge's own data
)


def collect(source: Path, target: Path, limit_bytes: int) -> str:
    """Copy a regular file to `target`: "collected", or the reason why not. Links, pipes and devices are refused."""
    content = read_regular_file(source, limit_bytes)
    if isinstance(content, str):
        return content
    write_bytes(target, content)
    return "collected"


def csv_files(folder: Path, wanted: str, most: int = 5) -> list[str]:
    """Files in `folder` that may have been meant as the submission file: .csv in any case, or its name before it."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(folders)[:100] if len(Path(root).relative_to(folder).parts) < 3 else []
        stem = wanted.rpartition(".")[0].casefold()
        found += [
            str(Path(root, name).relative_to(folder))
            for name in sorted(names)
            if name.casefold().endswith((".csv", ".csv.gz", ".csv.zip")) or name.casefold().partition(".")[0] == stem
        ]
    return [shown_name(name) for name in found if name != FALLBACKS][:most]


def collect_fallbacks(source: Path, target: Path, known: set[str]) -> Fallbacks:
    """Collect and count the optional `fallbacks.csv` (columns filename,reason); an invalid one is not kept.

    known: all row ids. A share of fallbacks above MANY_FALLBACKS sets `caution`.
    """
    content = read_regular_file(source, SIDE_FILE_LIMIT_BYTES)
    if isinstance(content, str):
        return Fallbacks() if content == "missing" else Fallbacks(error=content)
    text = content.decode("utf-8", errors="replace")
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        return Fallbacks(error=str(error))
    if not rows or [name.strip() for name in rows[0]] != ["filename", "reason"]:
        return Fallbacks(error="its header is not filename,reason")
    by_name: dict[str, str] = {}
    broken = []
    for row in rows[1:]:
        if len(row) == 2 and row[0] in known and row[0] not in by_name:
            by_name[row[0]] = row[1][:80]
        else:
            broken.append(",".join(row))
    if broken:
        what = "invalid: expected the name of a test video and a reason, each name once"
        return Fallbacks(error=f"{plural(len(broken), 'row')} {what}; the first: {broken[0]!r:.80}")
    write_bytes(target, content)
    return Fallbacks(
        count=len(by_name),
        by_reason=dict(Counter(reason.split(" (")[0] for reason in by_name.values())),  # without details in brackets
        first=list(by_name)[:10],
        caution=_caution(len(by_name), len(known)),
    )


def _caution(fallbacks: int, videos: int) -> str:
    """A sentence if the share of fallbacks is above MANY_FALLBACKS, else empty."""
    if not fallbacks > MANY_FALLBACKS * videos:
        return ""
    share = f"{fallbacks / videos:.0%} of the videos, more than {MANY_FALLBACKS:.0%}"
    return f"fallbacks on {share}: the score says little about the model"


def fallback_rows(path: Path) -> set[str]:
    """The row ids in a `fallbacks.csv` that `collect_fallbacks` has kept; empty if there is none."""
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


def lines_with(parts: tuple[bytes, ...], log: Path, most: int = 10_000) -> list[str]:
    """The lines of a log that contain one of `parts`, each once, at most `most`; decoded leniently, long ones cut."""
    found: dict[str, None] = {}
    with log.open("rb") as file:
        while len(found) < most and (line := file.readline(MOST_LINE_BYTES)):
            if any(part in line for part in parts):
                found[line.decode("utf-8", errors="replace").rstrip()] = None
    return list(found)


def read_regular_file(path: Path, limit_bytes: int) -> bytes | str:
    """The content of a regular file, or why it was refused. Never follows a link, never waits for a writer."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return "missing"
    except OSError:  # a link (ELOOP), a socket (ENXIO), forbidden
        return "not a readable regular file"
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode):
        os.close(handle)
        return "not a regular file"
    with os.fdopen(handle, "rb") as file:
        if state.st_size > limit_bytes:
            return f"larger than {limit_bytes} bytes"
        return file.read(limit_bytes)
