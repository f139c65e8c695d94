"""The audit's rules about splits, files and labels, and the table of all rules."""

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfdc_kit.csv_text import as_text
from dfdc_kit.data.audit.evidence import (
    MIN_ORIGINALS,
    AuditFinding,
    Evidence,
    ExactTest,
    Severity,
    finding,
    split_advice,
)
from dfdc_kit.data.split import FOLDS, TRAIN, VALIDATION, fakes_as_originals

_NAMED_COPIES = 3  # files of a group that are named
_MAX_IMBALANCE = 0.05  # distance of the fraction of FAKE from a half
_BOTH_FOLDS = {FOLDS[TRAIN], FOLDS[VALIDATION]}
_SPLIT_AGAIN = "Split again; copies and public test videos are then left out."


def original_in_both_folds(evidence: Evidence) -> Iterator[AuditFinding]:
    """An original, or two of its fakes, in both folds."""
    found = _groups_in_both_folds(evidence, evidence.catalogue.source_videos())
    if found:
        yield finding(
            "original-in-both-folds",
            "error",
            "originals have videos in training and in validation: the model has seen what it is tested on",
            [f"{source}: {train} in training, {held} in validation" for source, (train, held) in found.items()],
            *split_advice(evidence, "Split by original."),
        )


def part_in_both_folds(evidence: Evidence) -> Iterator[AuditFinding]:
    """A part in both folds: its people are."""
    catalogue = evidence.catalogue
    parts = {label_file.folder_name for label_file in catalogue.label_files if label_file.part >= 0}
    found = {
        name: seen for name, seen in _groups_in_both_folds(evidence, catalogue.folder_names()).items() if name in parts
    }
    if found:
        yield finding(
            "part-in-both-folds",
            "note",
            "parts have videos in both folds: the same people may be in training and validation",
            [f"{name}: {train:,} in training, {held:,} in validation" for name, (train, held) in found.items()],
            *(split_advice(evidence, "Split by part.", by="part") if len(parts) > 1 else ("Add a second part.", "")),
        )


def public_test_as_validation(evidence: Evidence) -> Iterator[AuditFinding]:
    """The public test's videos, by name or by content, in validation."""
    held = {name for name, fold in (evidence.folds or {}).items() if fold == FOLDS[VALIDATION]}
    found = held & evidence.public_test
    folder = evidence.challenge.data.test_videos
    for copies_of_one in evidence.copies:
        if any(path.parent.name == folder for path in copies_of_one):
            found |= {path.name for path in copies_of_one} & held
    if found:
        yield finding(
            "public-test-as-validation",
            "error",
            "videos of the public test are in validation: they are training videos, so a score on them is worthless",
            sorted(found),
            *split_advice(evidence, _SPLIT_AGAIN),
        )


def split_matches_labels(evidence: Evidence) -> Iterator[AuditFinding]:
    """Names in the split that no labels have, and videos that the split does not have."""
    folds = evidence.folds or {}
    known = set(evidence.catalogue.names)
    if unknown := sorted(folds.keys() - known - evidence.public_test):
        yield finding(
            "unknown-in-split",
            "warning",
            "videos of the split have no labels here: their originals are unknown",
            unknown,
            "Name all label files that the split was made from: dfdc audit PATH PATH ...",
        )
    if left_out := sorted(known - folds.keys()):
        yield finding(
            "not-in-split", "note", "videos are not in the split", left_out, *split_advice(evidence, "Split again.")
        )


def _groups_in_both_folds(evidence: Evidence, groups: list[str]) -> dict[str, tuple[int, int]]:
    """Groups with videos in both folds, and how many in each; groups (n,) of the catalogue's videos."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for fold, group in zip(evidence.fold, groups, strict=True):
        if fold in _BOTH_FOLDS:
            counts[group][fold == FOLDS[VALIDATION]] += 1
    return {group: (train, held) for group, (train, held) in sorted(counts.items()) if train and held}


# ----------------------------------------------------------------------------------------------------------- the files

_COPIES: dict[str, tuple[str, Severity, str, str]] = {
    "folds": (
        "copy-in-both-folds",
        "error",
        "videos are in training and, byte for byte, in validation under another name",
        _SPLIT_AGAIN,
    ),
    "labels": (
        "copy-with-another-label",
        "error",
        "groups of videos have the same bytes and different labels",
        "Find out which label is right, and remove the other rows from the labels.",
    ),
    "test": (
        "public-test-in-training",
        "warning",
        "videos of the public test are, byte for byte, in the training data",
        "Do not validate on test_videos: use a split, which never has them in validation.",
    ),
    "plain": (
        "copies",
        "warning",
        "groups of videos have the same bytes under different names",
        "Remove all but one of each from the labels; a split leaves copies of validation videos out of training.",
    ),
}


def copies(evidence: Evidence) -> Iterator[AuditFinding]:
    """Files with the same bytes under other names."""
    catalogue = evidence.catalogue
    fake = dict(zip(catalogue.names, catalogue.fake.tolist(), strict=True))
    folds = evidence.folds or {}
    test_videos = evidence.challenge.data.test_videos
    found: dict[str, list[str]] = defaultdict(list)
    for paths in evidence.copies:
        names = {path.name for path in paths}
        in_test = [path.parent.name == test_videos for path in paths]
        kinds = [
            ("folds", {folds.get(name) for name in names} >= _BOTH_FOLDS),
            ("labels", len({fake[name] for name in names if name in fake}) == 2),
            ("test", any(in_test) and not all(in_test)),
        ]
        serious = [kind for kind, applies in kinds if applies]
        for kind in serious or ["plain"] * (len(names) > 1):
            found[kind].append(_name_copies(paths))
    for kind, (code, severity, what, fix) in _COPIES.items():
        if found[kind]:
            advice = (fix, "") if kind == "labels" else split_advice(evidence, fix)
            yield finding(code, severity, what, found[kind], *advice)


def _name_copies(paths: list[Path]) -> str:
    """A group of files, of which the first few are named."""
    names = [f"{path.parent.name}/{path.name}" for path in paths[:_NAMED_COPIES]]
    return ", ".join(names) + (f" and {len(paths) - _NAMED_COPIES:,} more" if len(paths) > _NAMED_COPIES else "")


def broken_files(evidence: Evidence) -> Iterator[AuditFinding]:
    """Files that cannot be read as videos."""
    broken = {path: seen.fault for path, seen in sorted(evidence.videos.items()) if seen.fault}
    if broken:
        yield finding(
            "broken-file",
            "warning",
            "files cannot be read as videos",
            [f"{path.parent.name}/{path.name}: {fault.code}, {fault.seen}" for path, fault in broken.items()],
            "Decode them to the end, then download them again.",
            shlex.join(["dfdc", "data", "verify", str(next(iter(broken)).parent), "--deep"]),
        )


def missing_files(evidence: Evidence) -> Iterator[AuditFinding]:
    """Listed videos that are missing, and videos without a label."""
    missing: list[str] = []
    unlabelled: list[str] = []
    folder = ""
    for label_file in evidence.catalogue.label_files:
        present = evidence.on_disk.get(label_file.folder, frozenset())
        if present & set(label_file.names):
            lacking = sorted(set(label_file.names) - present)
            missing += [f"{label_file.folder_name}/{name}" for name in lacking]
            folder = folder or (str(label_file.folder) if lacking else "")
    labelled = set(evidence.catalogue.names)
    for path, names in evidence.on_disk.items():
        unlabelled += [f"{path.name}/{name}" for name in sorted(names - labelled)]
    if missing:
        command = shlex.join(["dfdc", "data", "status", folder])
        yield finding("missing-file", "warning", "listed videos are missing", missing, "Download them.", command)
    if unlabelled:
        fix = f"Add them to the labels, or use the folder's own {evidence.challenge.data.metadata}."
        yield finding("unlabelled-file", "warning", "videos have no label", unlabelled, fix)


def container_leak(evidence: Evidence) -> Iterator[AuditFinding]:
    """Labels that the container's metadata gives away."""
    fix = (
        "Give a model pixels and audio only, never container fields. What they are worth: baselines/container-metadata"
    )
    leak = evidence.leak
    if leak is not None and leak.is_significant:
        yield AuditFinding(
            code="container-leak",
            severity="warning",
            what=f"containers give labels away: display aspect ratio and audio time base alone score"
            f" {leak.log_loss:.4f} (+/- {leak.standard_error:.4f}) on held-out originals, 0.5 {leak.constant:.4f}",
            count=leak.videos,
            examples=[
                f"aspect ratio {cell.display_aspect_ratio or 'not stated'}, audio {cell.audio_time_base or 'none'}:"
                f" {cell.fake:,} FAKE, {cell.real:,} REAL, so {cell.probability:.2f}"
                for cell in leak.cells
            ],
            fix=fix,
        )
    significant = [test for test in evidence.exact_tests if test.is_significant]
    if significant:
        yield AuditFinding(
            code="container-leak",
            severity="warning",
            what="containers give labels away (Fisher's exact test, p ="
            f" {significant[0].p_value:.1g} after correction for {len(evidence.exact_tests)} tests)",
            count=significant[0].fake_total + significant[0].real_total,
            examples=[_describe(test) for test in significant],
            fix=fix,
        )


def _describe(test: ExactTest) -> str:
    value = test.value or "not stated"
    counts = f"{test.fake} of {test.fake_total} FAKE, {test.real} of {test.real_total} REAL"
    return f"{test.field} {value}: {counts}, p = {test.p_value:.1g}"


# ---------------------------------------------------------------------------------------------------------- the labels


def originals(evidence: Evidence) -> Iterator[AuditFinding]:
    """Originals that are missing, not named, or fakes themselves."""
    catalogue = evidence.catalogue
    known = set(catalogue.names)
    fakes = [catalogue.names[i] for i in np.flatnonzero(catalogue.fake).tolist()]
    original_of = dict(zip(catalogue.names, catalogue.originals, strict=True))
    if orphans := sorted(name for name in fakes if not original_of[name]):
        yield finding(
            "no-original-named",
            "warning",
            "FAKE videos name no original, so a split cannot keep them in one fold with it",
            orphans,
            *split_advice(
                evidence,
                f"Use the challenge's {evidence.challenge.data.metadata}, add a column `original`, or split by video.",
                by="video",
            ),
        )
    if missing := sorted({original_of[name] for name in fakes if original_of[name]} - known):
        yield finding(
            "missing-original",
            "note",
            "originals of FAKE videos are not in this data; splits still keep their fakes together",
            missing,
            "Nothing, for a split. For pairs of REAL and FAKE, use full parts: each has its own originals.",
        )
    if chained := sorted(fakes_as_originals(catalogue)):
        yield finding(
            "original-is-no-original",
            "error",
            "videos are made from one that is FAKE, or itself made from another, so groups are undefined",
            [f"{name} from {original}" for name, original in chained],
            "Correct the labels: an original is a REAL video.",
        )


def one_class(evidence: Evidence) -> Iterator[AuditFinding]:
    """Labels of one class only."""
    columns = evidence.challenge.submission
    for label_file in evidence.catalogue.label_files:
        if len(set(label_file.fake.tolist())) == 1:
            name = columns.positive if label_file.fake[0] else columns.negative
            what = f"videos of {label_file.file}, all of them, are {name}"
            yield finding("one-class", "warning", what, label_file.names, "Use labels with both classes.")


def class_balance(evidence: Evidence) -> Iterator[AuditFinding]:
    """Validation, or data, that is not half FAKE and half REAL as the tests are."""
    catalogue, folds = evidence.catalogue, evidence.folds
    held = np.array([folds is None or fold == FOLDS[VALIDATION] for fold in evidence.fold])
    if not held.any() or abs((fraction := float(catalogue.fake[held].mean())) - 0.5) <= _MAX_IMBALANCE:
        return
    fake, real = (int((held & (catalogue.fake == is_fake)).sum()) for is_fake in (True, False))
    what = "the data" if folds is None else "validation"
    fix, command = split_advice(evidence, "Weight both classes equally, or balance the split.", balance=True)
    yield AuditFinding(
        code="class-balance",
        severity="note" if folds is None else "warning",
        what=f"{what} is {fraction:.1%} FAKE, the tests are half and half: its log loss is not comparable with theirs",
        count=int(held.sum()),
        examples=[f"{fake:,} FAKE, {real:,} REAL"],
        fix=fix,
        command=command,
    )


def in_two_folders(evidence: Evidence) -> Iterator[AuditFinding]:
    """Videos that two label files name."""
    if evidence.catalogue.duplicates:
        yield finding(
            "in-two-folders",
            "note",
            "videos are in more than one label file, with the same label",
            [f"{name}: {', '.join(folders)}" for name, folders in sorted(evidence.catalogue.duplicates.items())],
            "Train on one of the folders only, or count each video once.",
        )


def untouched_rows(evidence: Evidence) -> Iterator[AuditFinding]:
    """Rows of a submission that still have the sample submission's 0."""
    columns, submission = evidence.challenge.submission, evidence.submission
    ids = None if submission is None else submission.column(columns.row_id)
    labels = None if submission is None else submission.column(columns.label)
    if submission is None or ids is None or labels is None:
        return
    untouched = as_text(ids[labels == b"0"])
    cost = f": each costs 34.5 where the video is {columns.positive}" if evidence.challenge.metric.is_log_loss else ""
    if untouched:
        yield finding(
            "untouched-rows",
            "error",
            f"rows still have the sample submission's 0, of {len(ids):,} in {submission.path}{cost}",
            untouched,
            "Predict every row; where that fails, write 0.5.",
            shlex.join(["dfdc", "validate", str(submission.path)]),
        )


# ------------------------------------------------------------------------------------------------------------ the table


def _always(_: Evidence) -> str:
    return ""


def _needs_split(evidence: Evidence) -> str:
    return "" if evidence.folds is not None else "no --split given"


def _needs_parts(evidence: Evidence) -> str:
    has_parts = any(label_file.part >= 0 for label_file in evidence.catalogue.label_files)
    return _needs_split(evidence) or ("" if has_parts else "no part of the full training set")


def _needs_submission(evidence: Evidence) -> str:
    return "" if evidence.submission is not None else "no --submission given"


def _needs_videos(evidence: Evidence) -> str:
    return "" if evidence.videos else "no video was opened"


def _needs_headers(evidence: Evidence) -> str:
    if reason := _needs_videos(evidence):
        return reason
    if evidence.leak is None and not evidence.exact_tests:
        return f"too few videos of each class with a readable header; {MIN_ORIGINALS} originals of each are enough"
    return ""


def _needs_files(evidence: Evidence) -> str:
    return "" if any(evidence.on_disk.values()) else "no video is present"


@dataclass(frozen=True, slots=True)
class AuditRule:
    """A rule: its name, why it cannot be tested on this evidence (empty: it can), and its check."""

    name: str
    not_tested: Callable[[Evidence], str]
    check: Callable[[Evidence], Iterable[AuditFinding]]


RULES: tuple[AuditRule, ...] = (
    AuditRule("original in both folds", _needs_split, original_in_both_folds),
    AuditRule("public test as validation", _needs_split, public_test_as_validation),
    AuditRule("copies", _needs_videos, copies),
    AuditRule("originals", _always, originals),
    AuditRule("untouched rows", _needs_submission, untouched_rows),
    AuditRule("container leak", _needs_headers, container_leak),
    AuditRule("broken files", _needs_videos, broken_files),
    AuditRule("missing files", _needs_files, missing_files),
    AuditRule("one class", _always, one_class),
    AuditRule("class balance", _always, class_balance),
    AuditRule("split matches labels", _needs_split, split_matches_labels),
    AuditRule("part in both folds", _needs_parts, part_in_both_folds),
    AuditRule("in two folders", _always, in_two_folders),
)
