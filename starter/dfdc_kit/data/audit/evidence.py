"""A finding of the audit, and the evidence it is drawn from."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import CsvText
from dfdc_kit.data.catalogue import Catalogue
from dfdc_kit.data.inspection import Inspection
from dfdc_kit.data.split import place_of
from dfdc_kit.data.video_header import Header

FOLDS = 5
FEWEST = 10  # originals of each class; below, nothing is said
DOUBT = 1.0  # videos of each class that every cell begins with: a cell seen once tells little
CAUTION = 2.0  # standard errors
LN2 = math.log(2)

Fields = tuple[str, str]  # display aspect ratio, audio time base


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Videos with the same two fields; "" is "the container does not say"."""

    display_aspect_ratio: str
    audio_time_base: str
    fake: int
    real: int
    probability: float  # of FAKE, where both classes are as many


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """The two-field model: its log loss on held-out originals, both classes weighing the same, and its table."""

    videos: int
    originals: int
    log_loss: float
    standard_error: float
    constant: float  # what 0.5 for every video costs
    cells: list[Cell]

    @property
    def is_one(self) -> bool:
        """Whether it beats the constant by more than chance would."""
        return self.log_loss + CAUTION * self.standard_error < self.constant


def measure(headers: Sequence[Header], fake: npt.NDArray[np.bool_], originals: Sequence[str]) -> Leak | None:
    """Fit and cross-validate; headers, fake and originals are (n,). None if there are too few originals to tell."""
    pairs = [(header.display_aspect_ratio, header.audio_time_base) for header in headers]
    _, group = np.unique(np.array(originals, np.str_), return_inverse=True)
    if min((len(set(group[fake == label].tolist())) for label in (False, True)), default=0) < FEWEST:
        return None
    loss, error = _held_out(pairs, fake, originals, group)
    counts = Counter(zip(pairs, fake.tolist(), strict=True))
    table = fit(pairs, fake)
    cells = [
        Cell(
            display_aspect_ratio=pair[0],
            audio_time_base=pair[1],
            fake=counts[pair, True],
            real=counts[pair, False],
            probability=probability,
        )
        for pair, probability in table.items()
    ]
    return Leak(
        videos=len(fake),
        originals=int(group.max()) + 1,
        log_loss=loss,
        standard_error=error,
        constant=LN2,
        cells=sorted(cells, key=lambda cell: cell.fake + cell.real, reverse=True),
    )


def fit(values: Sequence[Fields], fake: npt.NDArray[np.bool_]) -> dict[Fields, float]:
    """The probability of FAKE for each value (n,), as if both classes were as many; unseen values are worth 0.5."""
    fakes = int(fake.sum())
    weight = (len(fake) - fakes) / max(fakes, 1)  # of a FAKE video against a REAL one
    count = Counter(zip(values, fake.tolist(), strict=True))
    table = {}
    for value in dict.fromkeys(values):
        for_fake, for_real = count[value, True] * weight + DOUBT, count[value, False] + DOUBT
        table[value] = for_fake / (for_fake + for_real)
    return table


def _held_out(
    values: Sequence[Fields], fake: npt.NDArray[np.bool_], originals: Sequence[str], group: npt.NDArray[np.intp]
) -> tuple[float, float]:
    """Mean loss, both classes weighing the same, and its standard error; an original is one observation."""
    fold = np.array([int(place_of(original, 0) * FOLDS) for original in originals])
    p = np.full(len(fake), 0.5)
    for held in range(FOLDS):
        seen = fold != held
        table = fit([value for value, here in zip(values, seen.tolist(), strict=True) if here], fake[seen])
        for i in np.flatnonzero(~seen).tolist():
            p[i] = table.get(values[i], 0.5)
    loss = -np.log(np.where(fake, p, 1 - p))
    weight = np.where(fake, 0.5 / fake.sum(), 0.5 / (~fake).sum())
    of_class = np.where(fake, loss[fake].mean(), loss[~fake].mean())
    deviation = np.bincount(group, weight * (loss - of_class))
    return float(weight @ loss), float(np.sqrt((deviation**2).sum() * len(deviation) / (len(deviation) - 1)))


Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
FIRST = 5  # examples of each finding


class AuditFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that makes a score lie, or a run stumble."""

    code: str
    severity: Severity
    what: str
    count: int
    examples: list[str]  # the first few
    mend: str  # what to do


def audit_finding(code: str, severity: Severity, what: str, examples: list[str], mend: str) -> AuditFinding:
    """A finding whose count is that of its `examples`, of which the first few are kept."""
    return AuditFinding(
        code=code, severity=severity, what=what, count=len(examples), examples=examples[:FIRST], mend=mend
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the rules look at.

    sides: of each video of the split, by name, where a split was given; side (n,): of each video of the catalogue;
    public_test: names of the public test's videos; videos: what was seen of the files on disk, by path, empty where
    none were opened; copies: groups of files with the same bytes.
    """

    challenge: Challenge
    catalogue: Catalogue
    sides: Mapping[str, str] | None
    side: list[str | None]
    public_test: frozenset[str]
    on_disk: Mapping[Path, frozenset[str]]  # names of the videos in each folder that metadata is about
    videos: Mapping[Path, Inspection]
    copies: list[list[Path]]
    leak: Leak | None
    submission: CsvText | None
