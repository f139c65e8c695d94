"""What container metadata alone tells about the labels: the display aspect ratio and the time base of the sound.

In the challenge's public files these two fields alone implied a log loss of about 0.49, with no pixel looked at. A
model that sees them, for instance because its reader crops or scales by them, learns nothing about fakes.
"""

import math
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.data.split import place_of
from dfdc_kit.data.verify.container import Header

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
