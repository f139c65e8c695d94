"""Verify a data folder (every video present, complete, readable, and listed), and report its status."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import as_text, read_csv
from dfdc_kit.data.catalogue import NO_PART, LabelFile, part_number, read_label_files
from dfdc_kit.data.inspection import (
    HeaderReader,
    Inspection,
    Inspector,
    Progress,
    VideoFile,
    list_videos,
    no_progress,
    relative_name,
)
from dfdc_kit.data.video_header import read_header
from dfdc_kit.errors import DataMissingError
from dfdc_kit.files import translate_read_errors

MISSING, NO_VIDEOS, UNLISTED = "missing", "no-videos", "unlisted"
WRONG_SIZE, WRONG_CONTENT = "wrong-size", "wrong-content"


class ExpectedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a downloaded file should be; None and "" mean unknown."""

    size_bytes: int | None = None
    sha256: str = ""


class FileProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not as it should be."""

    path: str
    code: str
    reason: str


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified, and every problem."""

    folder: str
    deep: bool
    files: int  # videos on disk
    bytes: int
    read: int  # files that were read now; the others have not changed since they were
    seconds: float
    cache: str
    cached: bool  # whether the results could be cached
    problems: list[FileProblem]

    @property
    def counts(self) -> dict[str, int]:
        """How many problems of each code, most frequent first."""
        return dict(Counter(problem.code for problem in self.problems).most_common())


class _VideoFolder(msgspec.Struct, frozen=True):
    """A folder of videos, and the names that should be in it; None: unknown."""

    folder: Path
    expected: set[str] | None
    listed_in: Path
    present: dict[str, VideoFile]


def verify(
    folder: Path,
    challenge: Challenge,
    *,
    deep: bool = False,
    cache: Path | None = None,
    expected: Mapping[Path, ExpectedFile] | None = None,
    progress: Progress = no_progress,
    read: HeaderReader = read_header,
) -> VerifyReport:
    """Verify the videos in `folder`: those that labels or a sample submission list, and all others next to them.

    `expected` says what downloaded files should be, by absolute path; comparing a digest means reading the whole file.
    Raises DataMissingError if there is nothing to verify, DataError if labels are broken.
    """
    started = time.monotonic()
    with translate_read_errors():
        folders = list(_video_folders(folder, challenge))
    files = [file for one in folders for file in one.present.values()]
    wanted = dict(expected or {})
    digests = frozenset(file.path for file in files if (known := wanted.get(file.path)) and known.sha256)
    with Inspector(folder, cache, read) as inspector:
        seen = inspector.inspect(files, deep=deep, sha256_of=digests, progress=progress)
    found = {*_listing_problems(folders), *_file_problems(seen, wanted), *_removed(wanted, seen)}
    root = folder.resolve()
    return VerifyReport(
        folder=str(root),
        deep=deep,
        files=len(files),
        bytes=sum(file.size_bytes for file in files),
        read=inspector.files_read,
        seconds=time.monotonic() - started,
        cache=str(inspector.cache_file),
        cached=inspector.cached,
        problems=[
            FileProblem(path=relative_name(path, root), code=code, reason=reason)
            for path, code, reason in sorted(found, key=_in_order)
        ],
    )


_Found = tuple[Path, str, str]  # path, code, reason


def _in_order(found: _Found) -> tuple[list[str], str, str]:
    """Paths with their numbers in order: part 2 before part 10."""
    path, code, reason = found
    return [text.zfill(12) if text.isdigit() else text for text in re.split(r"(\d+)", str(path))], code, reason


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise DataMissingError(f"File or folder not found: {folder}", command="dfdc download sample")


def _label_files(folder: Path, challenge: Challenge) -> list[LabelFile]:
    try:
        return read_label_files([folder], challenge)
    except DataMissingError as error:
        if isinstance(error.__cause__, OSError):  # there are some, but they cannot be read
            raise
        return []


def _video_folders(folder: Path, challenge: Challenge) -> Iterator[_VideoFolder]:
    suffix = challenge.data.video_suffix
    _check_folder(folder)
    label_files = _label_files(folder, challenge)
    root = folder.resolve()
    test_videos, plain = root / challenge.data.test_videos, list_videos(root, suffix)
    for one in dict.fromkeys(label_file.folder for label_file in label_files):
        same = [label_file for label_file in label_files if label_file.folder == one]
        expected = {name for label_file in same for name in label_file.names}
        yield _VideoFolder(one, expected, same[0].file, list_videos(one, suffix))
    if test_videos.is_dir():
        sample = folder / challenge.data.sample_submission
        ids = read_csv(sample).column(challenge.submission.row_id) if sample.is_file() else None
        names = None if ids is None else set(as_text(ids))
        yield _VideoFolder(test_videos, names, sample, list_videos(test_videos, suffix))
    elif not label_files and plain:
        yield _VideoFolder(root, None, root, plain)
    elif not label_files:
        raise DataMissingError(
            f"{folder} contains no {challenge.data.metadata}, no {challenge.data.test_videos}/ and no *{suffix} file.",
            hint="Name a data folder of the challenge, or a folder of videos.",
        )


def _listing_problems(folders: Iterable[_VideoFolder]) -> Iterator[_Found]:
    for one in folders:
        if one.expected is None:
            continue
        if one.expected and not one.present:
            yield one.folder, NO_VIDEOS, f"{one.listed_in.name} lists {len(one.expected):,}, none is present"
            continue
        for name in one.expected - one.present.keys():
            yield one.folder / name, MISSING, f"listed in {one.listed_in.name}"
        for name in one.present.keys() - one.expected:
            yield one.folder / name, UNLISTED, f"not listed in {one.listed_in.name}"


def missing_videos(folder: Path, challenge: Challenge) -> list[Path]:
    """Videos in `folder` that its labels or sample submission list and that are missing; no video is opened.

    A folder without any video stands for all of them. Raises DataMissingError if there is nothing to check.
    """
    with translate_read_errors():
        found = _listing_problems(_video_folders(folder, challenge))
        return sorted(path for path, code, _ in found if code in (MISSING, NO_VIDEOS))


def _file_problems(seen: Mapping[Path, Inspection], expected: Mapping[Path, ExpectedFile]) -> Iterator[_Found]:
    for path, inspection in seen.items():
        if inspection.fault:
            yield path, inspection.fault.code, inspection.fault.seen
        should = expected.get(path, ExpectedFile())
        if should.size_bytes not in (None, inspection.size_bytes):
            yield path, WRONG_SIZE, f"{inspection.size_bytes:,} bytes, expected {should.size_bytes:,}"
        elif should.sha256 and inspection.sha256 != should.sha256:
            yield path, WRONG_CONTENT, f"sha256 {inspection.sha256:.12}, expected {should.sha256:.12}"


def _removed(expected: Mapping[Path, ExpectedFile], seen: Mapping[Path, Inspection]) -> Iterator[_Found]:
    for path in expected.keys() - seen.keys():
        if not path.exists():
            yield path, MISSING, "it was downloaded, but is missing now"


# -------------------------------------------------------------------------------------------------------------- status


class FolderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One folder of videos. What only labels can say is None where there are none."""

    name: str
    part: int | None
    videos: int  # on disk
    bytes: int
    listed: int | None = None  # videos that the labels name
    missing: int | None = None  # of those, how many are not on disk
    fake: int | None = None
    real: int | None = None
    originals: int | None = None  # different originals
    originals_missing: int | None = None  # originals that the folder's labels do not name themselves


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """All folders, their totals, and the parts of the full training set without any video."""

    folder: str
    folders: list[FolderStatus]
    parts_in_all: int
    parts_missing: list[int]
    videos: int
    bytes: int
    fake: int  # labelled, each folder counted on its own
    real: int
    missing: int


def status(folder: Path, challenge: Challenge, progress: Progress = no_progress) -> StatusReport:
    """The state of a data folder; `progress` counts its folders.

    Raises DataMissingError if there is none, DataError if labels are broken.
    """
    with translate_read_errors():
        return _status(folder, challenge, progress)


def _status(folder: Path, challenge: Challenge, progress: Progress) -> StatusReport:
    _check_folder(folder)
    root = folder.resolve()
    label_files = _label_files(root, challenge)
    known = Counter(label_file.folder for label_file in label_files)
    others = [path for path in sorted([root, *root.iterdir()]) if path.is_dir() and path not in known]
    total = len(label_files) + len(others)
    folders = []
    for label_file in label_files:
        folders.append(_labelled_folder(label_file, known[label_file.folder] > 1, challenge))
        progress(len(folders), total)
    for path in others:
        folders.append(_unlabelled_folder(path, challenge))
        progress(len(folders), total)
    folders = sorted((found for found in folders if found.videos or found.listed), key=_by_part_number)
    present = {found.part for found in folders if found.videos}
    return StatusReport(
        folder=str(root),
        folders=folders,
        parts_in_all=challenge.sizes.train_parts,
        parts_missing=[part for part in range(challenge.sizes.train_parts) if part not in present],
        videos=sum(found.videos for found in folders),
        bytes=sum(found.bytes for found in folders),
        fake=sum(found.fake or 0 for found in folders),
        real=sum(found.real or 0 for found in folders),
        missing=sum(found.missing or 0 for found in folders),
    )


def _by_part_number(found: FolderStatus) -> tuple[int, str]:
    return (NO_PART if found.part is None else found.part), found.name


def ranges(numbers: Iterable[int]) -> str:
    """Sorted numbers in the form that `dfdc download parts` reads: "0-2,4,6-49"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _labelled_folder(label_file: LabelFile, shared: bool, challenge: Challenge) -> FolderStatus:
    """`shared`: another label file is about the same folder, so only the videos that this one names are counted."""
    present = list_videos(label_file.folder, challenge.data.video_suffix)
    if shared:
        present = {name: present[name] for name in present.keys() & set(label_file.names)}
    originals = {original or name for original, name in zip(label_file.originals, label_file.names, strict=True)}
    fake = int(label_file.fake.sum())
    return FolderStatus(
        name=label_file.folder_name,
        part=None if label_file.part == NO_PART else label_file.part,
        videos=len(present),
        bytes=sum(file.size_bytes for file in present.values()),
        listed=len(label_file.names),
        missing=len(set(label_file.names) - present.keys()),
        fake=fake,
        real=len(label_file.names) - fake,
        originals=len(originals),
        originals_missing=len(originals - set(label_file.names)),
    )


def _unlabelled_folder(folder: Path, challenge: Challenge) -> FolderStatus:
    """A folder without labels: the public test, or a part whose metadata is missing."""
    present = list_videos(folder, challenge.data.video_suffix)
    part = part_number(folder.name, challenge)
    return FolderStatus(
        name=folder.name,
        part=None if part == NO_PART else part,
        videos=len(present),
        bytes=sum(file.size_bytes for file in present.values()),
    )
