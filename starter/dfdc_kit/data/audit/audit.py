"""The audit: gather the evidence, apply every rule, worst findings first."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import CsvText, read_csv
from dfdc_kit.data.audit.evidence import SEVERITIES, AuditFinding, Evidence, Leak, measure
from dfdc_kit.data.audit.rules import RULES
from dfdc_kit.data.catalogue import Catalogue, read_catalogue, reading
from dfdc_kit.data.inspection import Inspection, Inspector, Progress, VideoFile, list_videos, silent
from dfdc_kit.data.split_files import public_test_names, read_sides
from dfdc_kit.errors import DataMissingError, UsageError


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, and what was found."""

    sources: list[str]
    videos: int  # that metadata names
    fake: int
    real: int
    originals: int
    files: int  # videos that were there and opened
    leak: Leak | None  # None: no videos, or too few originals to tell
    seconds: float
    findings: list[AuditFinding]

    @property
    def errors(self) -> int:
        """How many findings make a score worthless."""
        return sum(found.severity == "error" for found in self.findings)


def audit(
    paths: Sequence[Path],
    challenge: Challenge,
    *,
    split: Path | None = None,
    submission: Path | None = None,
    open_videos: bool = True,
    state: Path | None = None,
    progress: Progress = silent,
) -> AuditReport:
    """Audit the data in `paths` (metadata files, or folders that hold some), a `split` of it, and a `submission`.

    Raises DataMissingError if something is not there, DataError if metadata or the split is broken.
    """
    started = time.monotonic()
    catalogue = read_catalogue(paths, challenge)
    with reading():
        files = _files(paths, catalogue, challenge)
        public_test = public_test_names(paths, challenge)
    videos: dict[Path, Inspection] = {}
    if open_videos:
        root = paths[0] if paths[0].is_dir() else paths[0].parent
        every = [file for folder in files.values() for file in folder.values()]
        with Inspector(root, state) as inspector:
            videos = inspector.inspect(every, sha256_of=_of_same_size(every), progress=progress)
    listed = {label_file.folder for label_file in catalogue.label_files}
    sides = None if split is None else read_sides(split)
    evidence = Evidence(
        challenge=challenge,
        catalogue=catalogue,
        sides=sides,
        side=[sides.get(name) if sides else None for name in catalogue.names],
        public_test=public_test,
        on_disk={folder: frozenset(there) for folder, there in files.items() if folder in listed},
        videos=videos,
        copies=_copies(videos),
        leak=_leak(catalogue, videos),
        submission=None if submission is None else _read_submission(submission, challenge),
    )
    found = [finding for rule in RULES for finding in rule(evidence)]
    fake = int(catalogue.fake.sum())
    return AuditReport(
        sources=[str(label_file.file) for label_file in catalogue.label_files],
        videos=len(catalogue),
        fake=fake,
        real=len(catalogue) - fake,
        originals=len(set(catalogue.roots())),
        files=len(videos),
        leak=evidence.leak,
        seconds=time.monotonic() - started,
        findings=sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)),
    )


def _files(paths: Sequence[Path], catalogue: Catalogue, challenge: Challenge) -> dict[Path, dict[str, VideoFile]]:
    """The videos on disk by folder and name: where metadata is about them, and the public test's."""
    folders = [label_file.folder for label_file in catalogue.label_files]
    folders += [path.resolve() / challenge.data.test_videos for path in paths if path.is_dir()]
    return {folder: list_videos(folder, challenge.data.video_suffix) for folder in dict.fromkeys(folders)}


def _of_same_size(files: Sequence[VideoFile]) -> frozenset[Path]:
    """The files that could have the same content as another one: a digest costs reading the whole file."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        by_size[file.size_bytes].append(file.path)
    return frozenset(path for size, paths in by_size.items() if size and len(paths) > 1 for path in paths)


def _copies(videos: Mapping[Path, Inspection]) -> list[list[Path]]:
    """Groups of files with the same bytes; two names of one file on disk are no copies."""
    by_content: dict[str, dict[Path, Path]] = defaultdict(dict)
    for path, seen in videos.items():
        if seen.sha256 and seen.size_bytes:
            by_content[seen.sha256].setdefault(path.resolve(), path)
    return [sorted(paths.values()) for paths in by_content.values() if len(paths) > 1]


def _leak(catalogue: Catalogue, videos: Mapping[Path, Inspection]) -> Leak | None:
    """The two-field model of all labelled videos whose header could be read."""
    roots, headers, rows = catalogue.roots(), [], []
    for i in range(len(catalogue)) if videos else ():
        seen = videos.get(catalogue.path(i))
        if seen and seen.header:
            headers.append(seen.header)
            rows.append(i)
    return measure(headers, catalogue.fake[np.array(rows, np.intp)], [roots[i] for i in rows]) if rows else None


def _read_submission(path: Path, challenge: Challenge) -> CsvText:
    if not path.is_file():
        raise DataMissingError(f"There is no submission {path}.")
    text = read_csv(path)
    columns = challenge.submission
    if text.column(columns.row_id) is None or text.column(columns.label) is None:
        raise UsageError(
            f"{path}: seen the columns {','.join(text.header)!r:.80}, expected {columns.row_id} and {columns.label}.",
            hint=f"See what is wrong with it: dfdc validate {path}",
        )
    return text
