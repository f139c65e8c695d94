"""A `metadata.json` of the challenge: the videos of a folder, what they are, and from which ones they were made."""

import json
from pathlib import Path
from typing import Any

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import DataError, DataMissingError

MAX_FAULTS = 9  # told of one file
NO_NAMES = ("", ".", "..")


def read_metadata(path: Path, challenge: Challenge) -> dict[str, Any]:
    """`{name: {"label": "FAKE" | "REAL", ...}}`; a real video may have `original: null` or no such key.

    Every name stands in the file once. Raises DataMissingError if it cannot be read, DataError with the first faults
    if it is not what the challenge writes.
    """
    labels = [challenge.submission.positive, challenge.submission.negative]
    rows = _json_object(path)
    raise_for(
        path, [f"{name!r:.60}: {fault}" for name, entry in rows.items() if (fault := _entry_fault(name, entry, labels))]
    )
    return rows


def raise_for(path: Path, faults: list[str]) -> None:
    """Raise DataError with the first of the `faults` of a file, if there are any."""
    if faults:
        more = f"\n  ... and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        raise DataError(f"{path} is broken:\n  " + "\n  ".join(faults[:MAX_FAULTS]) + more, hint=_AGAIN)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except OSError as error:
        raise DataMissingError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError, too
        raise DataError(f"{path} is not the JSON of the challenge: {error}.", hint=_AGAIN) from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: seen a JSON {type(content).__name__}, expected an object of videos by name.", hint=_AGAIN
        )
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r:.60} stands in it more than once")
    return found


def _entry_fault(name: str, entry: Any, labels: list[str]) -> str:
    if not name.isprintable() or len(name.encode()) > 255 or name in NO_NAMES or "/" in name or "\\" in name:
        return "seen as a name, expected a file name"
    if not isinstance(entry, dict) or "label" not in entry:
        return f"seen {entry!r:.40}, expected an object with a label"
    if entry["label"] not in labels:
        return f"label: seen {entry['label']!r:.40}, expected {' or '.join(labels)}"
    original = entry.get("original")
    return "" if original is None or isinstance(original, str) else f"original: seen {original!r:.40}, expected a name"


_AGAIN = "Get the file again, or make it again, and do not mend it by hand."
