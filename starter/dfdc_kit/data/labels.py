"""Read labels: from a `metadata.json` of the challenge, or from a CSV as people keep them.

A CSV needs a column of file names and a column of labels. The official column names come first; common other names,
such as `videoname` and `is_fake`, are accepted where only one column has one. `LabelRows.notes` says what was assumed.
"""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import ALL_LINES, HARMLESS, CsvText, Texts, preview, read_csv
from dfdc_kit.errors import FIRST_FAULTS, DataError, DataMissingError
from dfdc_kit.formatting import join_names, plural

EXPECTED_TEXT = {
    "file-format": "CSV text in UTF-8",
    "file-empty": "a header and at least one row",
    "nul": "text without NUL bytes",
    "encoding": "text in UTF-8",
    "quote-open": "a closing quote",
    "row-width": "as many fields as the header has",
    "field-length": "a shorter field",
}
USAGE = "Usage"
USAGES = ("Public", "Private", "Ignored")
IGNORED = b"Ignored"
NAME_COLUMNS = {
    "name",
    "videoname",
    "video",
    "videopath",
    "path",
    "file",
    "filename",
    "filepath",
    "clip",
    "videoid",
    "videofile",
    "clipname",
    "fname",
    "uri",
    "id",
}
LABEL_COLUMNS = {"label", "labels", "isfake", "fake", "isdeepfake", "target", "class", "groundtruth", "truth"}
BOOLEAN_COLUMNS = {"isfake", "fake", "isdeepfake"}  # `true` and `yes` mean FAKE in these only
INVERTED_COLUMNS = {"isreal", "real", "isgenuine", "genuine"}  # 1 means REAL
FEW = 0.5  # of the labels: more that are numbers from 0 to 1 make the file one of predictions
NOT_FILE_NAMES = ("", ".", "..")


@dataclass(frozen=True, slots=True)
class LabelRows:
    """Labelled videos: ids (n,) unique file names; labels (n,) uint8, 1 for the positive class.

    usage (n,) Public, Private or Ignored, None if the file does not say; originals (n,), b"" where unknown; notes: how
    columns and names that are not the official ones were interpreted, one sentence each.
    """

    ids: Texts
    labels: npt.NDArray[np.uint8]
    usage: Texts | None
    originals: Texts
    notes: tuple[str, ...] = ()


def read_label_rows(path: Path, challenge: Challenge) -> LabelRows:
    """Read the labels in `path`, a JSON or CSV file.

    Raises DataMissingError if it cannot be read; DataError, with the first faults and their line numbers, if it is
    broken, names no video, or is a sample submission.
    """
    rows = _from_json(path, challenge) if path.suffix.lower() == ".json" else _from_csv(path, challenge)
    if not len(rows.ids):
        raise DataError(f"{path} has no labelled video.", hint=expected_form(challenge))
    return rows


def expected_form(challenge: Challenge) -> str:
    """The hint that says what a file of labels looks like."""
    columns = challenge.submission
    return (
        f"Expected: a CSV {columns.row_id},{columns.label}[,{USAGE}] with labels 0 and 1 or {columns.negative} and"
        f" {columns.positive}, or a {challenge.data.metadata}, or a folder that contains one."
    )


def raise_for_faults(path: Path, faults: list[str], hint: str, command: str = "") -> None:
    """Raise DataError with the `faults` of a file, if there are any."""
    if faults:
        raise DataError(f"{path} is not valid:", hint=hint, command=command, faults=faults)


def _raise_for_faults(path: Path, faults: list[str], hint: str) -> None:
    """As `raise_for_faults`, with the command that lists all faults of a label file, if they are many."""
    command = shlex.join(["dfdc", "data", "labels", str(path), "--all"]) if len(faults) > FIRST_FAULTS else ""
    raise_for_faults(path, faults, hint, command)


def file_faults(text: CsvText) -> Iterator[str]:
    """One sentence for each anomaly that was read with its line and keeps rows from being read."""
    for code, anomaly in text.anomalies.items():
        if code not in HARMLESS:
            expected = f", expected {EXPECTED_TEXT[code]}" if code in EXPECTED_TEXT else ""
            for line, seen in anomaly.first or [(0, b"")]:
                yield f"{f'line {line}: ' if line else ''}{code}{f', seen {preview(seen)!r}' if seen else ''}{expected}"


# ---------------------------------------------------------------------------------------------------------------- JSON


def _from_json(path: Path, challenge: Challenge) -> LabelRows:
    """`{name: {"label": "FAKE" | "REAL", ...}}`; a REAL video may have `original: null` or no such key.

    Also `{name: label}`, labels 0 and 1, words in lower case, and names without the suffix of videos.
    """
    positive, negative = challenge.submission.positive, challenge.submission.negative
    entry = f'{{"label": "{positive}" or "{negative}", "original": NAME}}'
    hint = f'Expected: {{"NAME{challenge.data.video_suffix}": {entry}, ...}}'
    videos, faults = _json_object(path, hint)
    entries = [one if isinstance(one, dict) else {"label": one} for one in videos.values()]
    labels = np.array([_label_text(one.get("label")).encode() for one in entries], np.bytes_)
    values = _label_values(labels, "", challenge)
    for name, one, value in zip(videos, entries, values.tolist(), strict=True):
        if fault := _entry_fault(name, one, value, challenge):
            faults.append(f"{name!r:.60}: {fault}")
    notes: list[str] = []
    suffix = challenge.data.video_suffix
    faults += [f"{name + suffix!r:.60} again, as {name!r:.60}" for name in videos if name + suffix in videos]
    _raise_for_faults(path, faults, hint)
    return LabelRows(
        ids=_file_names(np.array([name.encode() for name in videos], np.bytes_), suffix, notes),
        labels=values,
        usage=None,
        originals=np.array([(one.get("original") or "").encode() for one in entries], np.bytes_),
        notes=tuple(notes),
    )


def _label_text(label: Any) -> str:
    """A label in JSON as a CSV would have it; "" for one that no CSV has."""
    return str(label) if isinstance(label, str | int | float) and not isinstance(label, bool) else ""


def _json_object(path: Path, hint: str) -> tuple[dict[str, Any], list[str]]:
    """The object in `path`, and a fault for each key that is in an object again."""
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                labels = [one.get("label") if isinstance(one, dict) else one for one in (found[name], value)]
                what = "label" if isinstance(value, dict) else "value"
                repeated.append(
                    f"{name!r:.60} again, with {'the same' if labels[0] == labels[1] else 'another'} {what}"
                )
            found.setdefault(name, value)
        return found

    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=unique)
    except OSError as error:
        raise DataMissingError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError, too
        raise DataError(f"{path} is not valid JSON: {error}.", hint=hint) from error
    if not isinstance(content, dict):
        if isinstance(content, list):
            hint += f" Or write it as a CSV: pd.read_json({path.name!r}).to_csv('labels.csv', index=False)"
        raise DataError(
            f"{path}: seen a JSON {type(content).__name__}, expected an object of videos by name.", hint=hint
        )
    return content, repeated


def _entry_fault(name: str, entry: dict[str, Any], value: int, challenge: Challenge) -> str:
    """What is wrong with an entry whose label was read as `value`; empty if nothing is."""
    labels = (challenge.submission.positive, challenge.submission.negative)
    if not name.isprintable() or len(name.encode()) > 255 or name in NOT_FILE_NAMES or "/" in name or "\\" in name:
        return "seen as a name, expected a file name"
    if "label" not in entry:
        return f"seen {entry!r:.40}, expected an object with a label"
    if value == UNKNOWN:
        return f"label: seen {entry['label']!r:.40}, expected {' or '.join(labels)}"
    original = entry.get("original")
    return "" if original is None or isinstance(original, str) else f"original: seen {original!r:.40}, expected a name"


# ----------------------------------------------------------------------------------------------------------------- CSV


def _from_csv(path: Path, challenge: Challenge) -> LabelRows:
    text, columns, hint = read_csv(path, ALL_LINES), challenge.submission, expected_form(challenge)
    if "file-missing" in text.anomalies:
        raise DataMissingError(f"File or folder not found: {path}", hint=hint)
    malformed = list(file_faults(text))
    if not text.columns or not len(text.lines):
        names = f"Is line {text.header_line} the one with the column names? " if text.header_line else ""
        _raise_for_faults(path, malformed, names + hint)
    notes: list[str] = []
    _raise_if_not_by_commas(text)
    suffix = challenge.data.video_suffix.encode()
    if any(name.strip().encode().endswith(suffix) for name in text.header):
        raise DataError(
            f"{path}, line {text.header_line}: expected column names, seen {preview(','.join(text.header).encode())}",
            hint=f"Write a first line with the names of the columns: {columns.row_id},{columns.label}",
        )
    raw_names = _find_column(
        text, columns.row_id, NAME_COLUMNS, "file names", lambda names: np.strings.endswith(names, suffix).all(), notes
    )
    raw_labels = _find_column(
        text,
        columns.label,
        LABEL_COLUMNS,
        f"labels ({columns.negative}, {columns.positive})",
        lambda labels: (_label_values(labels, "", challenge) != UNKNOWN).all(),
        notes,
    )
    usage_name = next((name for name in text.header if name.strip().lower() == USAGE.lower()), "")
    usage = text.column(usage_name) if usage_name else None
    originals = text.column("original")
    if usage_name not in ("", USAGE):
        notes.append(f"column {usage_name!r} read as {USAGE}")
    ids = _file_names(text.columns[raw_names], challenge.data.video_suffix, notes)
    labels, label_names = text.columns[raw_labels], text.header[raw_labels]
    values = _label_values(labels, label_names, challenge)
    if len(labels) and (values == UNKNOWN).mean() > FEW and _are_probabilities(labels):
        raise DataError(
            f"{path} has predictions, not labels: line {text.lines[0]} has {preview(labels[0])}.",
            hint="Name the file with the labels in its place.",
        )
    expected = f"0 or {columns.negative}, 1 or {columns.positive}"
    faults = [
        *malformed,
        *_row_faults(text, text.header[raw_names], ids, ids == b"", "a file name"),
        *_row_faults(text, label_names, labels, values == UNKNOWN, expected),
        *_duplicates(text, ids, values),
    ]
    if usage is not None:
        usage = np.strings.capitalize(np.strings.strip(usage))
        wrong = ~np.logical_or.reduce([usage == name.encode() for name in USAGES])
        faults += _row_faults(text, usage_name, usage, wrong, ", ".join(USAGES))
    _raise_for_faults(path, faults, hint)
    if usage is not None and len(usage) and (usage == IGNORED).all():
        raise DataError(
            f"{path}: every row is Ignored, so no row counts.", hint=f"Expected: {USAGE} Public or Private."
        )
    if usage is None and len(ids) > 1 and (np.strings.strip(labels) == b"0").all():
        _raise_sample(path, len(ids), challenge)
    unknown = np.zeros(len(ids), "S1")
    return LabelRows(ids, values.astype(np.uint8), usage, unknown if originals is None else originals, tuple(notes))


def _raise_sample(path: Path, rows: int, challenge: Challenge) -> None:
    negative = challenge.submission.negative
    raise DataError(
        f"{path} is a sample submission, not labels: all {rows:,} labels are 0.",
        hint=f"Name the file with the labels. If every video is {negative}, write {negative} instead of 0.",
    )


UNKNOWN = 2  # a label that is neither class


def _label_values(labels: Texts, column: str, challenge: Challenge) -> npt.NDArray[np.uint8]:
    """(n,) 0, 1 or UNKNOWN."""
    columns = challenge.submission
    words = {"0": 0, "0.0": 0, "1": 1, "1.0": 1, columns.negative.lower(): 0, columns.positive.lower(): 1}
    if _plain_name(column) in BOOLEAN_COLUMNS:
        words |= {"false": 0, "true": 1, "no": 0, "yes": 1}
    seen, where = np.unique(labels, return_inverse=True)
    read = [words.get(text.decode("utf-8", "replace").strip().lower(), UNKNOWN) for text in seen.tolist()]
    return np.array(read, np.uint8)[where] if len(labels) else np.zeros(0, np.uint8)


def _are_probabilities(labels: Texts) -> bool:
    try:
        values = labels.astype(np.float64)
    except ValueError:
        return False
    return bool(((values >= 0) & (values <= 1)).all())


def _raise_if_not_by_commas(text: CsvText) -> None:
    """Raise DataError for a file whose columns are separated by semicolons or tabs."""
    separator = next((one for one in (";", "\t") if len(text.header) == 1 and one in text.header[0]), "")
    if separator:
        raise DataError(
            f"{text.path}: columns separated by {separator!r}, expected commas.",
            hint=f"Write it with commas: pd.read_csv(name, sep={separator!r}).to_csv(name, index=False)",
        )


def _find_column(
    text: CsvText,
    official: str,
    others: set[str],
    content: str,
    contains_it: Callable[[Texts], np.bool_],
    notes: list[str],
) -> int:
    """The index of the column with `content`. Raises DataError, naming the column to rename, if it is ambiguous.

    `contains_it(column)`: whether the values of a column with another name look like that content.
    """
    plain = [_plain_name(name) for name in text.header]
    exact = [i for i, name in enumerate(text.header) if name.strip() == official]
    found = exact or [i for i, name in enumerate(plain) if name in others]
    if len(found) == 1:
        if not exact:
            notes.append(f"column {text.header[found[0]]!r} read as {official}")
        return found[0]
    seen = f"{text.path}, line {text.header_line}: columns {preview(','.join(text.header).encode())!r}"
    if not found:
        columns = zip(text.header, text.columns, strict=False)
        likely = [name for name, column in columns if len(column) and contains_it(column)]
        hint = f"Rename the column {repr(likely[0]) if len(likely) == 1 else f'with the {content}'} to {official}."
        if len(likely) == 1 and _plain_name(likely[0]) in INVERTED_COLUMNS:
            hint = f"Write a column {official} that is 1 where {likely[0]} is 0."
        raise DataError(f"{seen}, expected a column {official}.", hint=hint)
    names = " and ".join(repr(text.header[i]) for i in found)
    raise DataError(
        f"{seen}: {names} could both be {official}.", hint=f"Rename one of them: only one may be {official}."
    )


def _plain_name(column: str) -> str:
    return column.strip().lower().replace("_", "").replace("-", "").replace(" ", "")


def _file_names(raw: Texts, suffix: str, notes: list[str]) -> Texts:
    """File names (n,) without folders and blanks, with the suffix of videos where there is no other."""
    names = np.strings.strip(raw)
    paths = (np.strings.find(names, b"/") >= 0) | (np.strings.find(names, b"\\") >= 0)
    if paths.any():
        notes.append(f"{plural(int(paths.sum()), 'path')} read as file names, without the folders")
        bare = [name.replace(b"\\", b"/").rstrip(b"/").rpartition(b"/")[2] for name in names[paths].tolist()]
        names[paths] = bare
    lacking = (np.strings.find(names, b".") < 0) & (names != b"")
    if lacking.any():
        notes.append(f"{suffix} added to {plural(int(lacking.sum()), 'name')} without it")
        names = np.where(lacking, np.strings.add(names, suffix.encode()), names)
    return names


def _row_faults(text: CsvText, name: str, column: Texts, wrong: npt.NDArray[np.bool_], expected: str) -> Iterable[str]:
    rows = np.flatnonzero(wrong).tolist()
    return [f"line {text.lines[i]}, {name}: seen {preview(column[i])!r}, expected {expected}" for i in rows]


def _duplicates(text: CsvText, ids: Texts, values: npt.NDArray[np.uint8]) -> Iterator[str]:
    """One fault for each row whose name an earlier row has, saying whether the labels differ."""
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(ids[order[1:]] == ids[order[:-1]]) + 1
    first_of: dict[bytes, int] = {}
    for i, before in sorted(zip(order[again].tolist(), order[again - 1].tolist(), strict=True)):
        first = first_of.setdefault(ids[i], before)
        if ids[i] != b"":
            label = "the same label" if values[i] == values[first] else "another label"
            yield f"line {text.lines[i]}: {preview(ids[i])!r} again, with {label} as on line {text.lines[first]}"


def names_in(values: Iterable[bytes], most: int = 3) -> str:
    """The first few names, for a message."""
    return join_names((preview(value) for value in values), most)
