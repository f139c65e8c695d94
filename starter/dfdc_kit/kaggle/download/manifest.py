"""The manifest of a data folder: name, size and digest of each verified file, in `.dfdc/files.jsonl`.

One JSON line a file, appended once the file is complete under its name; a later line about the same name replaces an
earlier one. A line that was cut off by a crash is skipped: its file is verified again.
"""

import os
import threading
from pathlib import Path
from typing import Literal

import msgspec

from dfdc_kit.data.integrity import ExpectedFile
from dfdc_kit.errors import OutputError
from dfdc_kit.files import OURS
from dfdc_kit.kaggle.download.partial import is_digest_of

NAME = Path(OURS) / "files.jsonl"
APPEND_LOCK = threading.Lock()  # several threads add what they have unpacked
State = Literal["good", "missing", "damaged", "unknown"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A verified file; or an archive (`files` > 0), all of whose files are verified and which may be removed."""

    name: str  # relative to the data folder, with /
    size_bytes: int
    digest: str
    archive: str = ""  # the archive it came in
    files: int = 0  # how many files came out of it


class Manifest:
    """The verified files of one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = {entry.name: entry for entry in _read(folder / NAME)}

    def add(self, *entries: Entry) -> None:
        """Append `entries`. Raises OutputError."""
        path = self.folder / NAME
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with APPEND_LOCK, path.open("ab") as file:
                file.write(b"\n" * _is_cut_off(path) + lines)
        except OSError as error:
            message = f"Cannot write {path}: {error.strerror}."
            raise OutputError(message, hint="Free some space, or choose another folder.") from error
        self.entries.update({entry.name: entry for entry in entries})

    def state(self, name: str, *, deep: bool = True) -> State:
        """The state of the file `name`: its size is compared, and with `deep` its digest."""
        path, entry = self.folder / name, self.entries.get(name)
        if not path.is_file():
            return "missing"
        if entry is None:
            return "unknown"
        try:
            is_good = path.stat().st_size == entry.size_bytes and (not deep or is_digest_of(entry.digest, path))
        except OSError:  # not readable: fetched again, or reported as what it is
            return "damaged"
        return "good" if is_good else "damaged"


def _is_cut_off(path: Path) -> bool:
    """Whether the last line has no line end."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _read(path: Path) -> list[Entry]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        hint = "Make it readable, or remove it: every file is then verified again."
        raise OutputError(f"Cannot read {path}: {error.strerror}.", hint=hint) from error
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Entry))
        except msgspec.DecodeError:
            continue
    return found


def expected_files(folder: Path) -> dict[Path, ExpectedFile]:
    """The files downloaded into `folder`, or into the folder above it, by absolute path, with their sizes.

    Their digests are compared by `dfdc download` itself.
    """
    here = folder.resolve()
    found = {}
    for root in (here.parent, here):
        for entry in Manifest(root).entries.values():
            path = root / entry.name
            if not entry.files and path.is_relative_to(here):
                found[path] = ExpectedFile(size_bytes=entry.size_bytes)
    return found
