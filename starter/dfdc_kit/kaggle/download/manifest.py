"""What was verified when it arrived: name, size and digest of each file, kept beside the data, one line each.

A line is added when a file stands whole under its name; a later line about the same name goes first. A line that was
cut off by a crash is skipped: its file is then verified anew.
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
TURN = threading.Lock()  # several threads note what they have unpacked
State = Literal["good", "missing", "damaged", "unknown"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One verified file; or an archive whose files all are (`files` > 0), which itself may be gone."""

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
        """Remember `entries`. Raises OutputError."""
        path = self.folder / NAME
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with TURN, path.open("ab") as file:
                file.write(b"\n" * _is_torn(path) + lines)
        except OSError as error:
            message = f"Cannot write {path}: {error.strerror}."
            raise OutputError(message, hint="Free some space or choose another folder.") from error
        self.entries.update({entry.name: entry for entry in entries})

    def of_archive(self, archive: str) -> list[Entry]:
        """The files that came in `archive`."""
        return [entry for entry in self.entries.values() if entry.archive == archive]

    def state(self, name: str, *, deep: bool = True) -> State:
        """How the file `name` stands: compared by size, and with `deep` by its digest, too."""
        path, entry = self.folder / name, self.entries.get(name)
        if not path.is_file():
            return "missing"
        if entry is None:
            return "unknown"
        if path.stat().st_size != entry.size_bytes or (deep and not is_digest_of(entry.digest, path)):
            return "damaged"
        return "good"


def _is_torn(path: Path) -> bool:
    """Whether the last line was cut off."""
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
        raise OutputError(f"Cannot read {path}: {error.strerror}.", hint=f"rm {path}") from error
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Entry))
        except msgspec.DecodeError:
            continue
    return found


def expected_files(folder: Path) -> dict[Path, ExpectedFile]:
    """The files that were downloaded into `folder`, or through the folder above it, by absolute path, with their size.

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
