"""Rules about files: copies, what is broken or not there, and what their containers give away."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dfdc_kit.csv_text import as_text
from dfdc_kit.data.audit.evidence import FIRST, AuditFinding, Evidence, Severity, audit_finding
from dfdc_kit.data.split import SIDES, TRAIN, VALIDATION, fakes_as_originals

_NAMED = 3  # files of a group of copies
_BOTH_SIDES = {SIDES[TRAIN], SIDES[VALIDATION]}
_COPIES: dict[str, tuple[str, Severity, str, str]] = {
    "across": (
        "copy-on-both-sides",
        "error",
        "videos are in training and, byte for byte, in validation under another name",
        "Keep one copy, then cut again: dfdc data split DIR",
    ),
    "labels": (
        "copy-with-another-label",
        "error",
        "groups of videos have the same bytes and different labels",
        "Find out which label is right, and leave the others out.",
    ),
    "test": (
        "public-test-in-training",
        "warning",
        "videos of the public test are, byte for byte, in the training data",
        "Never take a score on test_videos for a result.",
    ),
    "plain": (
        "copies",
        "warning",
        "groups of videos have the same bytes under different names",
        "Keep one of each.",
    ),
}


def copies(evidence: Evidence) -> Iterator[AuditFinding]:
    """Files with the same bytes under other names."""
    catalogue = evidence.catalogue
    fake = dict(zip(catalogue.names, catalogue.fake.tolist(), strict=True))
    sides = evidence.sides or {}
    test_videos = evidence.challenge.data.test_videos
    said: dict[str, list[str]] = defaultdict(list)
    for paths in evidence.copies:
        names = {path.name for path in paths}
        in_test = [path.parent.name == test_videos for path in paths]
        kinds = [
            ("across", {sides.get(name) for name in names} >= _BOTH_SIDES),
            ("labels", len({fake[name] for name in names if name in fake}) == 2),
            ("test", any(in_test) and not all(in_test)),
        ]
        worse = [kind for kind, is_so in kinds if is_so]
        for kind in worse or ["plain"] * (len(names) > 1):
            said[kind].append(_shown(paths))
    for kind, (code, severity, what, mend) in _COPIES.items():
        if said[kind]:
            yield audit_finding(code, severity, what, said[kind], mend)


def broken_files(evidence: Evidence) -> Iterator[AuditFinding]:
    """Files that cannot be used, are not there, or have no label."""
    broken = [
        f"{path.parent.name}/{path.name}: {seen.fault.code}, {seen.fault.seen}"
        for path, seen in sorted(evidence.videos.items())
        if seen.fault
    ]
    if broken:
        yield audit_finding(
            "broken-file",
            "warning",
            "files cannot be read as videos",
            broken,
            "Look closer: dfdc data verify DIR --deep",
        )
    missing: list[str] = []
    unlabelled: list[str] = []
    for label_file in evidence.catalogue.label_files:
        there = evidence.on_disk.get(label_file.folder, frozenset())
        if there & set(label_file.names):
            missing += [f"{label_file.place}/{name}" for name in sorted(set(label_file.names) - there)]
    labelled = set(evidence.catalogue.names)
    for folder, names in evidence.on_disk.items():
        unlabelled += [f"{folder.name}/{name}" for name in sorted(names - labelled)]
    if missing:
        yield audit_finding(
            "missing-file",
            "warning",
            "videos that metadata names are not there",
            missing,
            "Get them: dfdc data status DIR",
        )
    if unlabelled:
        yield audit_finding(
            "unlabelled-file", "warning", "videos have no label", unlabelled, "Get the folder's metadata.json again."
        )


def container_leak(evidence: Evidence) -> Iterator[AuditFinding]:
    """Labels that the container's metadata gives away."""
    leak = evidence.leak
    if leak is None or not leak.is_one:
        return
    yield AuditFinding(
        code="container-leak",
        severity="warning",
        what=f"containers give labels away: display aspect ratio and time base of the sound alone score"
        f" {leak.log_loss:.4f} (+/- {leak.standard_error:.4f}) on held-out originals, the constant {leak.constant:.4f}",
        count=leak.videos,
        examples=[
            f"aspect ratio {cell.display_aspect_ratio or 'not said'}, sound {cell.audio_time_base or 'none'}:"
            f" {cell.fake:,} FAKE, {cell.real:,} REAL, so {cell.probability:.2f}"
            for cell in leak.cells[:FIRST]
        ],
        mend="Show a model pixels and sound only, never the container. What it is worth: baselines/container-metadata",
    )


def _shown(paths: list[Path]) -> str:
    """A group of files, of which the first few are named."""
    names = [f"{path.parent.name}/{path.name}" for path in paths[:_NAMED]]
    return ", ".join(names) + (f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else "")


_TRAIN, _VALIDATION = SIDES[TRAIN], SIDES[VALIDATION]
_SPLIT_AGAIN = "Cut by original: dfdc data split DIR"
_UNEVEN = 0.05  # share of FAKE this far from a half


def original_on_both_sides(evidence: Evidence) -> Iterator[AuditFinding]:
    """An original, or two of its fakes, on both sides of the split."""
    if evidence.sides is None:
        return
    found = _groups_on_both_sides(evidence, evidence.catalogue.roots())
    if found:
        yield audit_finding(
            "original-on-both-sides",
            "error",
            "originals have videos in training and in validation: the model has seen what it is tested on",
            [f"{root}: {train} in training, {held} in validation" for root, (train, held) in found.items()],
            _SPLIT_AGAIN,
        )


def part_on_both_sides(evidence: Evidence) -> Iterator[AuditFinding]:
    """A part on both sides: its people are."""
    if evidence.sides is None:
        return
    catalogue = evidence.catalogue
    parts = {label_file.place for label_file in catalogue.label_files if label_file.part >= 0}
    places = _groups_on_both_sides(evidence, catalogue.places())
    found = {place: seen for place, seen in places.items() if place in parts}
    if found:
        yield audit_finding(
            "part-on-both-sides",
            "note",
            "parts have videos on both sides: the same people may be in training and validation",
            [f"{place}: {train:,} in training, {held:,} in validation" for place, (train, held) in found.items()],
            "With two parts or more: dfdc data split DIR --by part",
        )


def public_test_as_validation(evidence: Evidence) -> Iterator[AuditFinding]:
    """The public test's videos, by name or by content, in validation."""
    if evidence.sides is None:
        return
    held = {name for name, side in evidence.sides.items() if side == _VALIDATION}
    found = held & evidence.public_test
    folder = evidence.challenge.data.test_videos
    for copies in evidence.copies:
        if any(path.parent.name == folder for path in copies):
            found |= {path.name for path in copies} & held
    if found:
        yield audit_finding(
            "public-test-as-validation",
            "error",
            "videos of the public test are in validation: they come from the training set, a score there is worthless",
            sorted(found),
            _SPLIT_AGAIN,
        )


def split_out_of_step(evidence: Evidence) -> Iterator[AuditFinding]:
    """Names in the split that no metadata knows, and videos that the split does not name."""
    if evidence.sides is None:
        return
    known = set(evidence.catalogue.names)
    if unknown := sorted(evidence.sides.keys() - known - evidence.public_test):
        yield audit_finding(
            "unknown-in-split",
            "warning",
            "videos of the split are in no metadata: what they are made from is not known",
            unknown,
            "Name all metadata that the split was cut from: dfdc audit PATH PATH ...",
        )
    if left_out := sorted(known - evidence.sides.keys()):
        yield audit_finding(
            "not-in-split", "note", "videos are on no side of the split", left_out, "Cut again: dfdc data split DIR"
        )


def class_balance(evidence: Evidence) -> Iterator[AuditFinding]:
    """A validation, or data, that is not half and half as the tests are."""
    catalogue, sides = evidence.catalogue, evidence.sides
    held = np.array([sides is None or side == _VALIDATION for side in evidence.side])
    if not held.any() or abs((share := float(catalogue.fake[held].mean())) - 0.5) <= _UNEVEN:
        return
    of_class = [int((held & (catalogue.fake == fake)).sum()) for fake in (True, False)]
    what = "the data" if sides is None else "validation"
    yield AuditFinding(
        code="class-balance",
        severity="note" if sides is None else "warning",
        what=f"{what} is {share:.1%} FAKE, the tests are half and half: a log loss on it does not compare with theirs",
        count=int(held.sum()),
        examples=[f"{of_class[0]:,} FAKE, {of_class[1]:,} REAL"],
        mend="Cut half and half: dfdc data split DIR --balance. Or weigh both classes the same.",
    )


def _groups_on_both_sides(evidence: Evidence, groups: list[str]) -> dict[str, tuple[int, int]]:
    """Groups with videos on both sides, and how many on each; groups (n,) of the catalogue's videos."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for side, group in zip(evidence.side, groups, strict=True):
        if side in (_TRAIN, _VALIDATION):
            counts[group][side == _VALIDATION] += 1
    return {group: (train, held) for group, (train, held) in sorted(counts.items()) if train and held}


def originals(evidence: Evidence) -> Iterator[AuditFinding]:
    """Originals that are not there, not named, or fakes themselves."""
    catalogue = evidence.catalogue
    known = set(catalogue.names)
    fakes = [catalogue.names[i] for i in np.flatnonzero(catalogue.fake).tolist()]
    original_of = dict(zip(catalogue.names, catalogue.originals, strict=True))
    if orphans := sorted(name for name in fakes if not original_of[name]):
        yield audit_finding(
            "no-original-named",
            "warning",
            "FAKE videos name no original: nobody can tell what must stay on one side with them",
            orphans,
            "Use the challenge's own metadata.json, which names them.",
        )
    if missing := sorted({original_of[name] for name in fakes if original_of[name]} - known):
        yield audit_finding(
            "missing-original",
            "note",
            "originals of FAKE videos are not in this data; splits still keep their fakes together",
            missing,
            "Nothing, for a split. For pairs of REAL and FAKE, use full parts: each holds its own originals.",
        )
    if chained := sorted(fakes_as_originals(catalogue)):
        yield audit_finding(
            "original-is-no-original",
            "error",
            "videos are made from one that is FAKE, or itself made from another: groups cannot be told apart",
            [f"{name} from {original}" for name, original in chained],
            "Get the metadata again: an original is a REAL video.",
        )


def one_class(evidence: Evidence) -> Iterator[AuditFinding]:
    """Labels of one kind only: a sample submission taken for labels, for instance."""
    for label_file in evidence.catalogue.label_files:
        if label_file.fake.any() and label_file.fake.all():
            mend = "Use labels that tell both classes apart."
            yield audit_finding(
                "one-class", "warning", f"videos of {label_file.file}, all of them, are FAKE", label_file.names, mend
            )
        elif not label_file.fake.any():
            what = f"videos of {label_file.file}, all of them, are REAL: is it a sample submission with 0 in every row?"
            yield audit_finding("one-class", "error", what, label_file.names, "Use labels, such as a metadata.json.")


def in_two_places(evidence: Evidence) -> Iterator[AuditFinding]:
    """Videos that two metadata files name."""
    if evidence.catalogue.again:
        yield audit_finding(
            "in-two-folders",
            "note",
            "videos are named by more than one metadata file, with the same label",
            [f"{name}: {', '.join(places)}" for name, places in sorted(evidence.catalogue.again.items())],
            "Train on one of the folders only, or count each video once.",
        )


def untouched_rows(evidence: Evidence) -> Iterator[AuditFinding]:
    """Rows of a submission that still hold the sample's 0."""
    if evidence.submission is None:
        return
    columns = evidence.challenge.submission
    ids, labels = evidence.submission.column(columns.row_id), evidence.submission.column(columns.label)
    if ids is None or labels is None:
        return
    untouched = as_text(ids[labels == b"0"])
    sure = f": each costs 34.5 where the video is {columns.positive}"
    cost = sure if evidence.challenge.metric.is_log_loss else ""
    if untouched:
        yield audit_finding(
            "untouched-rows",
            "error",
            f"rows still hold the sample's 0, of {len(ids):,} in {evidence.submission.path}{cost}",
            untouched,
            "Predict every row; where that fails, write 0.5. More: dfdc validate FILE --against sample_submission.csv",
        )


Rule = Callable[[Evidence], Iterator[AuditFinding]]
RULES: tuple[Rule, ...] = (
    original_on_both_sides,
    public_test_as_validation,
    copies,
    originals,
    untouched_rows,
    container_leak,
    broken_files,
    one_class,
    class_balance,
    split_out_of_step,
    part_on_both_sides,
    in_two_places,
)
