"""The audit: gather the evidence, apply every rule, worst findings first."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import CsvText, read_csv
from dfdc_kit.data.audit.evidence import (
    SEVERITIES,
    AuditFinding,
    ContainerLeak,
    Evidence,
    ExactTest,
    RuleResult,
    enough_originals,
    exact_tests,
    measure_leak,
)
from dfdc_kit.data.audit.rules import RULES
from dfdc_kit.data.catalogue import Catalogue, label_notes, read_catalogue
from dfdc_kit.data.inspection import (
    Inspection,
    Inspector,
    Progress,
    VideoFile,
    group_by_content,
    list_videos,
    no_progress,
    same_size,
)
from dfdc_kit.data.split_files import public_test_names, read_folds
from dfdc_kit.errors import DataMissingError, UsageError
from dfdc_kit.files import translate_read_errors


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was examined, what came out of each rule, and every finding."""

    sources: list[str]
    videos: int  # that labels name
    fake: int
    real: int
    originals: int
    files: int  # videos that were opened
    leak: ContainerLeak | None  # None: no videos, or too few originals
    exact_tests: list[ExactTest]  # where there are too few originals for `leak`
    seconds: float
    rules: list[RuleResult]
    findings: list[AuditFinding]
    notes: list[str]

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
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> AuditReport:
    """Audit the data in `paths` (label files, or folders that contain some), a `split` of it, and a `submission`.

    Raises DataMissingError if something is missing, DataError if labels or the split are broken.
    """
    started = time.monotonic()
    catalogue = read_catalogue(paths, challenge)
    with translate_read_errors():
        files = _files(paths, catalogue, challenge)
        public_test = public_test_names(paths, challenge)
        folds = None if split is None else read_folds(split)
    videos: dict[Path, Inspection] = {}
    if open_videos:
        root = paths[0] if paths[0].is_dir() else paths[0].parent
        every = [file for folder in files.values() for file in folder.values()]
        with Inspector(root, cache) as inspector:
            videos = inspector.inspect(every, sha256_of=same_size(every), progress=progress)
    labelled = {label_file.folder for label_file in catalogue.label_files}
    leak, tests = _container_tests(catalogue, videos)
    evidence = Evidence(
        paths=paths,
        challenge=challenge,
        catalogue=catalogue,
        folds=folds,
        fold=[folds.get(name) if folds else None for name in catalogue.names],
        public_test=public_test,
        on_disk={folder: frozenset(present) for folder, present in files.items() if folder in labelled},
        videos=videos,
        copies=group_by_content({path: seen.sha256 for path, seen in videos.items() if seen.size_bytes}),
        leak=leak,
        exact_tests=tests,
        submission=None if submission is None else _read_submission(submission, challenge),
    )
    rules, findings = apply_rules(evidence)
    fake = int(catalogue.fake.sum())
    return AuditReport(
        sources=[str(label_file.file) for label_file in catalogue.label_files],
        videos=len(catalogue),
        fake=fake,
        real=len(catalogue) - fake,
        originals=len(set(catalogue.source_videos())),
        files=len(videos),
        leak=leak,
        exact_tests=tests,
        seconds=time.monotonic() - started,
        rules=rules,
        findings=findings,
        notes=label_notes(catalogue),
    )


def apply_rules(evidence: Evidence) -> tuple[list[RuleResult], list[AuditFinding]]:
    """The outcome of every rule, and all findings, worst first."""
    results, findings = [], []
    for rule in RULES:
        if reason := rule.not_tested(evidence):
            results.append(RuleResult(rule=rule.name, outcome="not tested", reason=reason))
            continue
        found = list(rule.check(evidence))
        findings += found
        results.append(RuleResult(rule=rule.name, outcome="found" if found else "passed"))
    return results, sorted(findings, key=lambda found: SEVERITIES.index(found.severity))


def _files(paths: Sequence[Path], catalogue: Catalogue, challenge: Challenge) -> dict[Path, dict[str, VideoFile]]:
    """The videos on disk by folder and name: in labelled folders and in the public test."""
    folders = [label_file.folder for label_file in catalogue.label_files]
    folders += [path.resolve() / challenge.data.test_videos for path in paths if path.is_dir()]
    return {folder: list_videos(folder, challenge.data.video_suffix) for folder in dict.fromkeys(folders)}


def _container_tests(
    catalogue: Catalogue, videos: Mapping[Path, Inspection]
) -> tuple[ContainerLeak | None, list[ExactTest]]:
    """The two-field model of all labelled videos with a readable header; exact tests where there are too few."""
    headers, rows, contents = [], [], set()
    for i in range(len(catalogue)) if videos else ():
        seen = videos.get(catalogue.path(i))
        if seen and seen.header and not (seen.sha256 and seen.sha256 in contents):  # copies are no further evidence
            contents.add(seen.sha256)
            headers.append(seen.header)
            rows.append(i)
    if not rows:
        return None, []
    sources, fake = catalogue.source_videos(), catalogue.fake[np.array(rows, np.intp)]
    originals = [sources[i] for i in rows]
    if enough_originals(fake, originals):
        return measure_leak(headers, fake, originals), []
    return None, exact_tests(headers, fake)


def _read_submission(path: Path, challenge: Challenge) -> CsvText:
    with translate_read_errors():
        if not path.is_file():
            raise DataMissingError(f"File or folder not found: {path}")
        text = read_csv(path)
    columns = challenge.submission
    if text.column(columns.row_id) is None or text.column(columns.label) is None:
        raise UsageError(
            f"{path}: seen the columns {','.join(text.header)!r:.80}, expected {columns.row_id} and {columns.label}.",
            command=f"dfdc validate {path}",
        )
    return text
