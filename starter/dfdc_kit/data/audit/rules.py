"""The rules of the audit, one function each; a rule looks at the evidence and yields what it finds."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dfdc_kit.csvtext import as_text
from dfdc_kit.data.audit.finding import Evidence, Finding, Severity, finding
from dfdc_kit.data.split import SIDES, TRAIN, VALIDATION, fakes_as_originals

_TRAIN, _VALIDATION = SIDES[TRAIN], SIDES[VALIDATION]
SPLIT_AGAIN = "Cut by original: dfdc data split DIR"
UNEVEN = 0.05  # share of FAKE this far from a half


def original_on_both_sides(evidence: Evidence) -> Iterator[Finding]:
    """An original, or two of its fakes, on both sides of the split."""
    if evidence.sides is None:
        return
    found = _groups_on_both_sides(evidence, evidence.catalogue.roots())
    if found:
        yield finding(
            "original-on-both-sides",
            "error",
            "originals have videos in training and in validation: the model has seen what it is tested on",
            [f"{root}: {train} in training, {held} in validation" for root, (train, held) in found.items()],
            SPLIT_AGAIN,
        )


def part_on_both_sides(evidence: Evidence) -> Iterator[Finding]:
    """A part on both sides: its people are."""
    if evidence.sides is None:
        return
    catalogue = evidence.catalogue
    parts = {listing.place for listing in catalogue.listings if listing.part >= 0}
    places = [catalogue.place(i) for i in range(len(catalogue))]
    found = {place: seen for place, seen in _groups_on_both_sides(evidence, places).items() if place in parts}
    if found:
        yield finding(
            "part-on-both-sides",
            "note",
            "parts have videos on both sides: the same people may be in training and validation",
            [f"{place}: {train:,} in training, {held:,} in validation" for place, (train, held) in found.items()],
            "With two parts or more: dfdc data split DIR --by part",
        )


def public_test_as_validation(evidence: Evidence) -> Iterator[Finding]:
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
        yield finding(
            "public-test-as-validation",
            "error",
            "videos of the public test are in validation: they come from the training set, a score there is worthless",
            sorted(found),
            SPLIT_AGAIN,
        )


def split_out_of_step(evidence: Evidence) -> Iterator[Finding]:
    """Names in the split that no metadata knows, and videos that the split does not name."""
    if evidence.sides is None:
        return
    known = set(evidence.catalogue.names)
    if unknown := sorted(evidence.sides.keys() - known - evidence.public_test):
        yield finding(
            "unknown-in-split",
            "warning",
            "videos of the split are in no metadata: what they are made from is not known",
            unknown,
            "Name all metadata that the split was cut from: dfdc audit PATH PATH ...",
        )
    if left_out := sorted(known - evidence.sides.keys()):
        yield finding(
            "not-in-split", "note", "videos are on no side of the split", left_out, "Cut again: dfdc data split DIR"
        )


def copies(evidence: Evidence) -> Iterator[Finding]:
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
            ("across", {_TRAIN, _VALIDATION} <= {sides.get(name) for name in names}),
            ("labels", len({fake[name] for name in names if name in fake}) == 2),
            ("test", any(in_test) and not all(in_test)),
        ]
        worse = [kind for kind, is_so in kinds if is_so]
        for kind in worse or ["plain"] * (len(names) > 1):
            said[kind].append(_shown(paths))
    for kind, (code, severity, what, mend) in _COPIES.items():
        if said[kind]:
            yield finding(code, severity, what, said[kind], mend)


def in_two_places(evidence: Evidence) -> Iterator[Finding]:
    """Videos that two metadata files name."""
    if evidence.catalogue.again:
        yield finding(
            "in-two-folders",
            "note",
            "videos are named by more than one metadata file, with the same label",
            [f"{name}: {', '.join(places)}" for name, places in sorted(evidence.catalogue.again.items())],
            "Train on one of the folders only, or count each video once.",
        )


def originals(evidence: Evidence) -> Iterator[Finding]:
    """Originals that are not there, not named, or fakes themselves."""
    catalogue = evidence.catalogue
    known = set(catalogue.names)
    fakes = [catalogue.names[i] for i in np.flatnonzero(catalogue.fake).tolist()]
    original_of = dict(zip(catalogue.names, catalogue.originals, strict=True))
    if orphans := sorted(name for name in fakes if not original_of[name]):
        yield finding(
            "no-original-named",
            "warning",
            "FAKE videos name no original: nobody can tell what must stay on one side with them",
            orphans,
            "Use the challenge's own metadata.json, which names them.",
        )
    if missing := sorted({original_of[name] for name in fakes if original_of[name]} - known):
        yield finding(
            "missing-original",
            "note",
            "originals of FAKE videos are not in this data; splits still keep their fakes together",
            missing,
            "Nothing, for a split. For pairs of REAL and FAKE, use full parts: each holds its own originals.",
        )
    if chained := sorted(fakes_as_originals(catalogue)):
        yield finding(
            "original-is-no-original",
            "error",
            "videos are made from one that is itself made from another: groups cannot be told apart",
            [f"{name} from {original}" for name, original in chained],
            "Get the metadata again: an original is a REAL video.",
        )


def broken_files(evidence: Evidence) -> Iterator[Finding]:
    """Files that cannot be used, are not there, or have no label."""
    broken = [
        f"{path.parent.name}/{path.name}: {seen.fault.code}, {seen.fault.seen}"
        for path, seen in sorted(evidence.videos.items())
        if seen.fault
    ]
    if broken:
        yield finding(
            "broken-file",
            "warning",
            "files cannot be read as videos",
            broken,
            "Look closer: dfdc data verify DIR --deep",
        )
    missing: list[str] = []
    unlabelled: list[str] = []
    for listing in evidence.catalogue.listings:
        there = evidence.on_disk.get(listing.folder, frozenset())
        if there & set(listing.names):
            missing += [f"{listing.place}/{name}" for name in sorted(set(listing.names) - there)]
    labelled = set(evidence.catalogue.names)
    for folder, names in evidence.on_disk.items():
        unlabelled += [f"{folder.name}/{name}" for name in sorted(names - labelled)]
    if missing:
        yield finding(
            "missing-file",
            "warning",
            "videos that metadata names are not there",
            missing,
            "Get them: dfdc data status DIR",
        )
    if unlabelled:
        yield finding(
            "unlabelled-file", "warning", "videos have no label", unlabelled, "Get the folder's metadata.json again."
        )


def container_leak(evidence: Evidence) -> Iterator[Finding]:
    """Labels that the container's metadata gives away."""
    leak = evidence.leak
    if leak is None or not leak.is_one:
        return
    yield Finding(
        code="container-leak",
        severity="warning",
        what=f"containers give labels away: display aspect ratio and time base of the sound alone score"
        f" {leak.log_loss:.4f} (+/- {leak.standard_error:.4f}) on held-out originals, the constant {leak.constant:.4f}",
        count=leak.videos,
        examples=[
            f"aspect ratio {cell.display_aspect_ratio or 'not said'}, sound {cell.audio_time_base or 'none'}:"
            f" {cell.fake:,} FAKE, {cell.real:,} REAL, so {cell.probability:.2f}"
            for cell in leak.cells[:5]
        ],
        mend="Show a model pixels and sound only, never the container. What it is worth: baselines/container-metadata",
    )


def class_balance(evidence: Evidence) -> Iterator[Finding]:
    """A validation, or data, that is not half and half as the tests are."""
    catalogue, sides = evidence.catalogue, evidence.sides
    for listing in catalogue.listings:
        if listing.fake.any() and listing.fake.all():
            mend = "Use labels that tell both classes apart."
            yield finding(
                "one-class", "warning", f"videos of {listing.file}, all of them, are FAKE", listing.names, mend
            )
        elif not listing.fake.any():
            what = (
                f"videos of {listing.file}, all of them, are REAL: is it a sample submission, with its 0 in every row?"
            )
            yield finding("one-class", "error", what, listing.names, "Use labels, such as a metadata.json.")
    held = np.array([sides is None or sides.get(name) == _VALIDATION for name in catalogue.names])
    if not held.any() or abs((share := float(catalogue.fake[held].mean())) - 0.5) <= UNEVEN:
        return
    of_class = [int((held & (catalogue.fake == fake)).sum()) for fake in (True, False)]
    what = "the data" if sides is None else "validation"
    yield Finding(
        code="class-balance",
        severity="note" if sides is None else "warning",
        what=f"{what} is {share:.1%} FAKE, the tests are half and half: a log loss on it does not compare with theirs",
        count=int(held.sum()),
        examples=[f"{of_class[0]:,} FAKE, {of_class[1]:,} REAL"],
        mend="Cut half and half: dfdc data split DIR --balance. Or weigh both classes the same.",
    )


def untouched_rows(evidence: Evidence) -> Iterator[Finding]:
    """Rows of a submission that still hold the sample's 0."""
    if evidence.submission is None:
        return
    columns = evidence.challenge.submission
    ids, labels = evidence.submission.column(columns.row_id), evidence.submission.column(columns.label)
    if ids is None or labels is None:
        return
    untouched = as_text(ids[labels == b"0"])
    if untouched:
        yield finding(
            "untouched-rows",
            "error",
            f"rows still hold the sample's 0, of {len(ids):,} in {evidence.submission.path}:"
            " each costs 34.5 where the video is FAKE",
            untouched,
            "Predict every row; where that fails, write 0.5. More: dfdc validate FILE --against sample_submission.csv",
        )


def _shown(paths: list[Path]) -> str:
    """A group of files, of which the first few are named."""
    names = [f"{path.parent.name}/{path.name}" for path in paths[:3]]
    return ", ".join(names) + (f" and {len(paths) - 3:,} more" if len(paths) > 3 else "")


def _groups_on_both_sides(evidence: Evidence, groups: list[str]) -> dict[str, tuple[int, int]]:
    """Groups with videos on both sides, and how many on each; groups (n,) of the catalogue's videos."""
    assert evidence.sides is not None  # noqa: S101 - the rules ask only then
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, group in zip(evidence.catalogue.names, groups, strict=True):
        side = evidence.sides.get(name)
        if side in (_TRAIN, _VALIDATION):
            counts[group][side == _VALIDATION] += 1
    return {group: (train, held) for group, (train, held) in sorted(counts.items()) if train and held}


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

Rule = Callable[[Evidence], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    original_on_both_sides,
    public_test_as_validation,
    copies,
    originals,
    untouched_rows,
    container_leak,
    broken_files,
    class_balance,
    split_out_of_step,
    part_on_both_sides,
    in_two_places,
)
