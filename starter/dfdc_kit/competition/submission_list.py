"""The list of submissions to judge: a folder with one in each sub-folder, or a CSV file."""

import csv
import io
from collections import Counter
from pathlib import Path

import msgspec

from dfdc_kit.errors import DataError, UsageError
from dfdc_kit.submission.code import RUNNABLE

COLUMNS, OPTIONAL_COLUMNS = ("team", "name", "folder"), ("submitted_at", "baseline")
TRUE = {"1", "true", "yes"}


class ListedSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """One submission to judge, as the organizer lists it."""

    team: str
    name: str
    folder: Path  # or a .py or .ipynb file
    submitted_at: str | None = None
    baseline: bool = False


def list_submissions(path: Path) -> list[ListedSubmission]:
    """The submissions in a folder, one in each sub-folder, or those of a list: a CSV file with team, name and folder.

    A list may also have the columns submitted_at (ISO 8601) and baseline (yes or no); its folders are relative to it.
    Raises UsageError or DataError.
    """
    if not path.exists():
        raise UsageError(f"File or folder not found: {path}", hint="Expected: a folder of submissions, or a list.")
    listed = _in_folder(path) if path.is_dir() else _in_list(path)
    for one in listed:
        if not (one.team + one.name).isprintable():
            hint = "Rename it: names are shown on boards and in terminals."
            raise DataError(f"{path}: the name {one.team + '/' + one.name!r} has a control character.", hint=hint)
    if not listed:
        raise UsageError(f"{path} contains no submission.", hint="Expected: one sub-folder for each submission.")
    twice = [pair for pair, count in Counter((one.team, one.name) for one in listed).items() if count > 1]
    if twice:
        raise DataError(f"{path} lists a team's submission twice: {' / '.join(twice[0])}", hint="Give each its name.")
    return listed


def _in_folder(path: Path) -> list[ListedSubmission]:
    found = []
    for one in sorted(path.iterdir()):
        if not one.name.startswith((".", "__")) and (one.is_dir() or one.suffix == RUNNABLE[1]):
            name = one.name if one.is_dir() else one.stem
            found.append(ListedSubmission(team=name, name=name, folder=one.absolute()))
    return found


def _in_list(path: Path) -> list[ListedSubmission]:
    try:
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8-sig")))
        header = list(rows.fieldnames or [])
        lines = [(rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a list of submissions: {error}") from error
    unknown = [name for name in header if name not in (*COLUMNS, *OPTIONAL_COLUMNS)]
    if unknown or not set(COLUMNS) <= set(header):
        seen = ", ".join(header) or "nothing"
        raise DataError(
            f"{path}: the header is {seen}.",
            hint=f"Expected: {','.join(COLUMNS)}; optional: {','.join(OPTIONAL_COLUMNS)}",
        )
    found = []
    for number, row in lines:
        values = {name: (value or "").strip() for name, value in row.items() if name is not None}
        if None in row or not all(values[name] for name in COLUMNS):
            raise DataError(f"{path}, line {number}: expected a value for each of {', '.join(COLUMNS)}.")
        folder = path.parent.absolute() / values["folder"]
        if not folder.exists():
            raise DataError(f"{path}, line {number}: folder not found: {folder}")
        found.append(
            ListedSubmission(
                team=values["team"],
                name=values["name"],
                folder=folder,
                submitted_at=values.get("submitted_at") or None,
                baseline=values.get("baseline", "").lower() in TRUE,
            )
        )
    return found
