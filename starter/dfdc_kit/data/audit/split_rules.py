"""The audit's rules about a split: leaks between its folds, and what it has in common with the labels."""

from collections import defaultdict
from collections.abc import Iterator

from dfdc_kit.data.audit.evidence import AuditFinding, Evidence, finding, split_advice
from dfdc_kit.data.split import FOLDS, TRAIN, VALIDATION

BOTH_FOLDS = {FOLDS[TRAIN], FOLDS[VALIDATION]}
SPLIT_AGAIN = "Split again; copies and public test videos are then left out."
_VALIDATION = FOLDS[VALIDATION]


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
    held = {name for name, fold in (evidence.folds or {}).items() if fold == _VALIDATION}
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
            *split_advice(evidence, SPLIT_AGAIN),
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
        if fold in BOTH_FOLDS:
            counts[group][fold == _VALIDATION] += 1
    return {group: (train, held) for group, (train, held) in sorted(counts.items()) if train and held}
