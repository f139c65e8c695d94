"""Rules about files: copies, what is broken or not there, and what their containers give away."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from dfdc_kit.data.audit.finding import FIRST, Evidence, Finding, Severity, finding
from dfdc_kit.data.split import SIDES, TRAIN, VALIDATION

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
            ("across", {sides.get(name) for name in names} >= _BOTH_SIDES),
            ("labels", len({fake[name] for name in names if name in fake}) == 2),
            ("test", any(in_test) and not all(in_test)),
        ]
        worse = [kind for kind, is_so in kinds if is_so]
        for kind in worse or ["plain"] * (len(names) > 1):
            said[kind].append(_shown(paths))
    for kind, (code, severity, what, mend) in _COPIES.items():
        if said[kind]:
            yield finding(code, severity, what, said[kind], mend)


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
            for cell in leak.cells[:FIRST]
        ],
        mend="Show a model pixels and sound only, never the container. What it is worth: baselines/container-metadata",
    )


def _shown(paths: list[Path]) -> str:
    """A group of files, of which the first few are named."""
    names = [f"{path.parent.name}/{path.name}" for path in paths[:_NAMED]]
    return ", ".join(names) + (f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else "")
