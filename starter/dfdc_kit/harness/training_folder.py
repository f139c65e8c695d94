"""The training folder as a run sees it: as on Kaggle, without anything that reveals the labels of the scored videos."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.files import file_sha256, shown_name


class TrainingFolder(msgspec.Struct, frozen=True, kw_only=True):
    """The videos and metadata rows that are mounted, and the names that were withheld because they are scored."""

    videos: list[Path]  # sorted by name, links resolved
    metadata: dict[str, Any] | None  # None: the folder has none, or not in the challenge's form
    withheld: list[str]  # names of videos and rows that were left out
    problem: str  # why the metadata is left out, although there is some


def training_folder(dataset: Dataset, challenge: Challenge) -> TrainingFolder | None:
    """What to mount as the training folder beside the scored videos of `dataset`; None if there is none.

    Only videos and the metadata file are mounted. Left out is what has the name or the content of a scored video;
    a reference of another row to it (the original of a fake) is emptied.
    """
    folder = find_training_folder(dataset, challenge)
    if folder is None:
        return None
    suffix = challenge.data.video_suffix.lower()
    videos = sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix and path.is_file())
    scored_names = {video.name.casefold() for video in dataset.videos}
    same = _with_same_content(videos, dataset.videos)
    withheld = {path.name for path in videos if path.name.casefold() in scored_names or path.name in same}
    metadata = folder / challenge.data.metadata
    rows = _read_metadata(metadata)
    secret = {name.casefold() for name in withheld} | scored_names
    if rows is not None:
        withheld |= {name for name in rows if name.casefold() in secret}
        rows = {name: _without(row, secret) for name, row in rows.items() if name.casefold() not in secret}
    return TrainingFolder(
        videos=[path.resolve() for path in videos if path.name not in withheld],
        metadata=rows,
        withheld=sorted(map(shown_name, withheld)),
        problem=f"{metadata.name} is not a JSON object" if rows is None and metadata.exists() else "",
    )


def find_training_folder(dataset: Dataset, challenge: Challenge) -> Path | None:
    """The data's own training folder, that of the folder above (a split), or where the scored videos link to."""
    if dataset.training is not None:
        return dataset.training
    layout, linked_to = challenge.data, dataset.videos[0].resolve().parent
    for folder in (dataset.folder / layout.train_videos, dataset.folder.parent / layout.train_videos):
        if folder.is_dir():
            return folder
    candidates = (dataset.folder, linked_to)
    return next((folder for folder in candidates if (folder / layout.metadata).is_file()), None)


def _with_same_content(videos: Iterable[Path], scored: Iterable[Path]) -> set[str]:
    """Names of `videos` that are a scored video: the same file, or the same bytes."""
    by_size: dict[int, list[Path]] = {}
    files = set()
    for path in scored:
        state = path.stat()
        files.add((state.st_dev, state.st_ino))
        by_size.setdefault(state.st_size, []).append(path)
    digests: dict[int, set[str]] = {}
    found = set()
    for path in videos:
        state = path.stat()
        if (state.st_dev, state.st_ino) in files:
            found.add(path.name)
        elif state.st_size in by_size:
            size = state.st_size
            if size not in digests:
                digests[size] = {file_sha256(one) for one in by_size[size]}
            if file_sha256(path) in digests[size]:
                found.add(path.name)
    return found


def _read_metadata(path: Path) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _without(row: object, secret: set[str]) -> object:
    """A metadata row with every value emptied that names a scored video."""
    if not isinstance(row, dict):
        return None if isinstance(row, str) and row.casefold() in secret else row
    return {key: None if isinstance(value, str) and value.casefold() in secret else value for key, value in row.items()}
