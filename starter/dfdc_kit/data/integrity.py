"""Whether a data folder is whole: every file there, whole, readable, and in step with the metadata."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import as_text, read_csv
from dfdc_kit.data.catalogue import NO_PART, LabelFile, part_of, read_label_files, reading
from dfdc_kit.data.inspection import Inspection, Inspector, Progress, VideoFile, list_videos, relative, silent
from dfdc_kit.errors import DataMissingError

MISSING, NO_VIDEOS, UNLISTED = "missing", "no-videos", "unlisted"
WRONG_SIZE, WRONG_CONTENT = "wrong-size", "wrong-content"


class ExpectedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a file should be, from whoever fetched it; None and "" are "not known"."""

    size_bytes: int | None = None
    sha256: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not as it should be."""

    path: str
    code: str
    reason: str


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, and what is wrong."""

    folder: str
    deep: bool
    files: int  # videos on disk
    bytes: int
    read: int  # files that had to be read; the others have not changed since they were
    seconds: float
    state: str
    state_kept: bool
    problems: list[Problem]

    @property
    def counts(self) -> dict[str, int]:
        """How many problems of each code."""
        return dict(Counter(problem.code for problem in self.problems).most_common())


class _Place(msgspec.Struct, frozen=True):
    """A folder of videos, and the names that ought to be in it; None: nobody knows."""

    folder: Path
    wanted: set[str] | None
    told_by: Path
    there: dict[str, VideoFile]


def verify(
    folder: Path,
    challenge: Challenge,
    *,
    deep: bool = False,
    state: Path | None = None,
    expected: Mapping[Path, ExpectedFile] | None = None,
    progress: Progress = silent,
) -> VerifyReport:
    """Verify all videos in `folder` that metadata or a sample submission names, and those that lie beside them.

    `expected` says what files should be, by absolute path, where a download left a manifest; a digest costs reading the
    whole file. Raises DataMissingError if there is nothing to verify, DataError if metadata is broken.
    """
    started = time.monotonic()
    with reading():
        places = list(_places(folder, challenge))
    files = [file for place in places for file in place.there.values()]
    wanted = dict(expected or {})
    digests = frozenset(file.path for file in files if (known := wanted.get(file.path)) and known.sha256)
    with Inspector(folder, state) as inspector:
        seen = inspector.inspect(files, deep=deep, sha256_of=digests, progress=progress)
    problems = [*_out_of_step(places), *_faults(seen, wanted), *_gone(wanted, seen)]
    root = folder.resolve()
    return VerifyReport(
        folder=str(root),
        deep=deep,
        files=len(files),
        bytes=sum(file.size_bytes for file in files),
        read=inspector.read,
        seconds=time.monotonic() - started,
        state=str(inspector.state),
        state_kept=inspector.kept,
        problems=[
            Problem(path=relative(path, root), code=code, reason=reason) for path, code, reason in sorted(set(problems))
        ],
    )


Found = tuple[Path, str, str]  # path, code, reason


def _places(folder: Path, challenge: Challenge) -> Iterator[_Place]:
    suffix = challenge.data.video_suffix
    if not folder.is_dir():
        raise DataMissingError(f"There is no folder {folder}.", hint="Get the data: dfdc download sample")
    try:
        label_files = read_label_files([folder], challenge)
    except DataMissingError:
        label_files = []
    test_videos = folder.resolve() / challenge.data.test_videos
    if not label_files and not test_videos.is_dir():
        raise DataMissingError(
            f"{folder} holds neither {challenge.data.metadata} nor {challenge.data.test_videos}/.",
            hint=f"Name a data folder of the challenge, or one with videos and {challenge.data.metadata}.",
        )
    for place in dict.fromkeys(label_file.folder for label_file in label_files):
        here = [label_file for label_file in label_files if label_file.folder == place]
        wanted = {name for label_file in here for name in label_file.names}
        yield _Place(place, wanted, here[0].file, list_videos(place, suffix))
    if test_videos.is_dir():
        sample = folder / challenge.data.sample_submission
        ids = read_csv(sample).column(challenge.submission.row_id) if sample.is_file() else None
        names = None if ids is None else set(as_text(ids))
        yield _Place(test_videos, names, sample, list_videos(test_videos, suffix))


def _out_of_step(places: Iterable[_Place]) -> Iterator[Found]:
    for place in places:
        if place.wanted is None:
            continue
        if place.wanted and not place.there:
            yield place.folder, NO_VIDEOS, f"{place.told_by.name} names {len(place.wanted):,}, none is there"
            continue
        for name in place.wanted - place.there.keys():
            yield place.folder / name, MISSING, f"{place.told_by.name} names it"
        for name in place.there.keys() - place.wanted:
            yield place.folder / name, UNLISTED, f"{place.told_by.name} does not name it"


def _faults(seen: Mapping[Path, Inspection], expected: Mapping[Path, ExpectedFile]) -> Iterator[Found]:
    for path, inspection in seen.items():
        if inspection.fault:
            yield path, inspection.fault.code, inspection.fault.seen
        should = expected.get(path, ExpectedFile())
        if should.size_bytes not in (None, inspection.size_bytes):
            yield path, WRONG_SIZE, f"{inspection.size_bytes:,} bytes, expected {should.size_bytes:,}"
        elif should.sha256 and inspection.sha256 != should.sha256:
            yield path, WRONG_CONTENT, f"sha256 {inspection.sha256:.12}, expected {should.sha256:.12}"


def _gone(expected: Mapping[Path, ExpectedFile], seen: Mapping[Path, Inspection]) -> Iterator[Found]:
    for path in expected.keys() - seen.keys():
        if not path.exists():
            yield path, MISSING, "it was downloaded, and is not there"


class FolderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One folder of videos. What metadata tells is None where there is none."""

    name: str
    part: int | None
    videos: int  # on disk
    bytes: int
    listed: int | None = None  # videos that the metadata names
    missing: int | None = None  # of those, how many are not on disk
    fake: int | None = None
    real: int | None = None
    originals: int | None = None  # different originals
    originals_missing: int | None = None  # originals that the folder's metadata does not name itself


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """All folders, and the parts of the full training set of which no video is there."""

    folder: str
    folders: list[FolderStatus]
    parts_in_all: int
    parts_missing: list[int]
    videos: int
    bytes: int


def status(folder: Path, challenge: Challenge, progress: Progress = silent) -> StatusReport:
    """The state of a data folder; `progress` counts its folders.

    Raises DataMissingError if there is none, DataError if metadata is broken.
    """
    with reading():
        return _status(folder, challenge, progress)


def _status(folder: Path, challenge: Challenge, progress: Progress) -> StatusReport:
    if not folder.is_dir():
        raise DataMissingError(f"There is no folder {folder}.", hint="Get the data: dfdc download sample")
    root = folder.resolve()
    try:
        label_files = read_label_files([root], challenge)
    except DataMissingError:
        label_files = []
    known = Counter(label_file.folder for label_file in label_files)
    others = [path for path in sorted(root.iterdir()) if path.is_dir() and path not in known]
    total = len(label_files) + len(others)
    folders = []
    for label_file in label_files:
        folders.append(_listed(label_file, known[label_file.folder] > 1, challenge))
        progress(len(folders), total)
    for path in others:
        folders.append(_unlisted(path, challenge))
        progress(len(folders), total)
    folders = [found for found in folders if found.videos or found.listed]
    there = {found.part for found in folders if found.videos}
    return StatusReport(
        folder=str(root),
        folders=folders,
        parts_in_all=challenge.sizes.train_parts,
        parts_missing=[part for part in range(challenge.sizes.train_parts) if part not in there],
        videos=sum(found.videos for found in folders),
        bytes=sum(found.bytes for found in folders),
    )


def ranges(numbers: Iterable[int]) -> str:
    """Sorted numbers as people write them, and as `dfdc download parts` reads them: "0-2,4,6-49"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _listed(label_file: LabelFile, shared: bool, challenge: Challenge) -> FolderStatus:
    """`shared`: another label_file is about the same folder, so only what this one names is counted."""
    there = list_videos(label_file.folder, challenge.data.video_suffix)
    if shared:
        there = {name: there[name] for name in there.keys() & set(label_file.names)}
    originals = {original or name for original, name in zip(label_file.originals, label_file.names, strict=True)}
    fake = int(label_file.fake.sum())
    return FolderStatus(
        name=label_file.place,
        part=None if label_file.part == NO_PART else label_file.part,
        videos=len(there),
        bytes=sum(file.size_bytes for file in there.values()),
        listed=len(label_file.names),
        missing=len(set(label_file.names) - there.keys()),
        fake=fake,
        real=len(label_file.names) - fake,
        originals=len(originals),
        originals_missing=len(originals - set(label_file.names)),
    )


def _unlisted(folder: Path, challenge: Challenge) -> FolderStatus:
    """A folder without metadata: the public test, or a part whose metadata is gone."""
    there = list_videos(folder, challenge.data.video_suffix)
    part = part_of(folder.name, challenge)
    return FolderStatus(
        name=folder.name,
        part=None if part == NO_PART else part,
        videos=len(there),
        bytes=sum(file.size_bytes for file in there.values()),
    )
