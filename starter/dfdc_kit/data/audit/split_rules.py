"""Rules about a split: what stands on both of its sides, and what must not be on one."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from dfdc_kit.data.audit.finding import Evidence, Finding, finding
from dfdc_kit.data.split import SIDES, TRAIN, VALIDATION

_TRAIN, _VALIDATION = SIDES[TRAIN], SIDES[VALIDATION]
_SPLIT_AGAIN = "Cut by original: dfdc data split DIR"
_UNEVEN = 0.05  # share of FAKE this far from a half


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
            _SPLIT_AGAIN,
        )


def part_on_both_sides(evidence: Evidence) -> Iterator[Finding]:
    """A part on both sides: its people are."""
    if evidence.sides is None:
        return
    catalogue = evidence.catalogue
    parts = {listing.place for listing in catalogue.listings if listing.part >= 0}
    places = _groups_on_both_sides(evidence, catalogue.places())
    found = {place: seen for place, seen in places.items() if place in parts}
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
            _SPLIT_AGAIN,
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


def class_balance(evidence: Evidence) -> Iterator[Finding]:
    """A validation, or data, that is not half and half as the tests are."""
    catalogue, sides = evidence.catalogue, evidence.sides
    held = np.array([sides is None or side == _VALIDATION for side in evidence.side])
    if not held.any() or abs((share := float(catalogue.fake[held].mean())) - 0.5) <= _UNEVEN:
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


def _groups_on_both_sides(evidence: Evidence, groups: list[str]) -> dict[str, tuple[int, int]]:
    """Groups with videos on both sides, and how many on each; groups (n,) of the catalogue's videos."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for side, group in zip(evidence.side, groups, strict=True):
        if side in (_TRAIN, _VALIDATION):
            counts[group][side == _VALIDATION] += 1
    return {group: (train, held) for group, (train, held) in sorted(counts.items()) if train and held}
