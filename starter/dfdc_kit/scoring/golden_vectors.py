"""Golden vectors for log loss and their scores, computed with 50 digits by the standard library alone.

Nothing here uses numpy, pandas or the metric file, so an error would have to be made twice to go unnoticed.
"""

import math
import struct
from collections.abc import Sequence
from decimal import MIN_EMIN, Context, Decimal, localcontext
from functools import cache
from typing import Literal, NamedTuple

DIGITS = 50
LOWEST, HIGHEST = Decimal.from_float(1e-15), Decimal.from_float(1 - 1e-15)  # the exact values of the two float64 bounds

# Public leaderboard scores of constant submissions, half of the videos FAKE, as displayed [four public kernels]
LEADERBOARD = ((0.5, "0.69314"), (0.4, "0.71355"), (0.01, "2.30761"), (0.091, "1.24615"))


class GoldenVector(NamedTuple):
    """Labels and predictions (n,), and the dtype in which a metric receives the predictions."""

    name: str
    labels: Sequence[int]
    predicted: Sequence[float]
    dtype: Literal["float64", "float32", "int64"]
    why: str

    @property
    def inside_the_clip(self) -> bool:
        """Whether no prediction is so extreme that the clip, or 1 - p in float64, would change it."""
        return all(1e-15 <= p <= 1 - 1e-15 for p in self.predicted)


def reference(labels: Sequence[int], predicted: Sequence[float]) -> Decimal:
    """The log loss of `predicted` (n,) against `labels` (n,) of 0 and 1, correct to 50 digits.

    A float means exactly its value; p is clipped first, then 1 - p is taken, without rounding.

    >>> print(reference([1, 0], [0.5, 0.5]))
    0.69314718055994530941723212145817656807550013436026
    """
    with localcontext(Context(prec=DIGITS + 25, Emin=MIN_EMIN)):  # the extra digits absorb the rounding of each step
        likelihood = math.prod(_likelihood(y, Decimal(p)) for y, p in zip(labels, predicted, strict=True))
        mean = -Decimal(likelihood).ln() / len(labels)
    return Context(prec=DIGITS).plus(mean)


@cache
def expected(vector: GoldenVector) -> Decimal:
    """The score of `vector`, with 50 digits."""
    return reference(vector.labels, vector.predicted)


def _likelihood(y: int, p: Decimal) -> Decimal:
    """The probability that the clipped prediction gives the label."""
    p = min(max(p, LOWEST), HIGHEST)
    return p if y == 1 else 1 - p


def single(value: float) -> float:
    """The float32 nearest to `value`, as an exact float64.

    >>> single(0.1)
    0.10000000149011612
    """
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return float(rounded)


def _both(*predicted: float) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Each prediction twice, once for a FAKE and once for a REAL."""
    return (1, 0) * len(predicted), tuple(p for p in predicted for _ in range(2))


def _many(rows: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Predictions spread over (0, 1), most of them on the right side; the same ones on every machine."""
    labels = tuple(int(i * 7919 % 1000 < 500) for i in range(rows))
    spread = [(i * 104729 % 10007 + 1) / 10009 for i in range(rows)]
    return labels, tuple(math.sqrt(p) if y else p * p for y, p in zip(labels, spread, strict=True))


_LOW, _HIGH = 1e-15, 1 - 1e-15
_BELOW, _ABOVE = (math.nextafter(1e-15, toward) for toward in (0.0, 1.0))

GOLDEN: tuple[GoldenVector, ...] = (
    GoldenVector("constant 0.5", *_both(0.5), "float64", "ln 2: the score without any information"),
    GoldenVector("good predictions", (1, 0, 1, 0), (0.9, 0.2, 0.7, 0.4), "float64", "natural logarithm, mean, not sum"),
    GoldenVector("bad predictions", (1, 0, 1, 0), (0.1, 0.8, 0.3, 0.6), "float64", "labels are not inverted"),
    GoldenVector("uneven classes", (1, 1, 1, 1, 0), (0.9, 0.8, 0.6, 0.7, 0.4), "float64", "no weight by class"),
    GoldenVector("one row, FAKE", (1,), (0.3,), "float64", "a single row"),
    GoldenVector("one row, REAL", (0,), (0.3,), "float64", "a single row"),
    GoldenVector("all FAKE", (1, 1, 1), (0.9, 0.5, 0.2), "float64", "only one class in the solution"),
    GoldenVector("all REAL", (0, 0, 0), (0.9, 0.5, 0.2), "float64", "only one class in the solution"),
    GoldenVector("wrong with 0", (1,), (0.0,), "float64", "the clip at 1e-15: 34.538776"),
    GoldenVector("wrong with 1", (0,), (1.0,), "float64", "the clip at 1 - 1e-15, which rounds: 34.539576"),
    GoldenVector("right with 0 and 1", (0, 1), (0.0, 1.0), "float64", "a perfect prediction costs 1e-15, not 0"),
    GoldenVector("all 0", *_both(0.0), "float64", "half wrong with 0: 17.269388"),
    GoldenVector("all 1", *_both(1.0), "float64", "half wrong with 1: 17.269788"),
    GoldenVector("integers 0 and 1", (1, 0, 1), (0, 0, 1), "int64", "the sample submission's labels are integers"),
    GoldenVector("1e-15 and neighbours", *_both(_BELOW, _LOW, _ABOVE), "float64", "on both sides of the lower bound"),
    GoldenVector(
        "1 - 1e-15 and neighbours",
        *_both(math.nextafter(_HIGH, 0.0), _HIGH, math.nextafter(_HIGH, 1.0)),
        "float64",
        "on both sides of the upper bound, where a neighbour is 11% away",
    ),
    GoldenVector("1e-14, 1e-12, 1e-8", *_both(1e-14, 1e-12, 1e-8), "float64", "small, but above the clip"),
    GoldenVector("1 - 1e-14, 1 - 1e-8", *_both(1 - 1e-14, 1 - 1e-8), "float64", "large, but below the clip"),
    GoldenVector("subnormals", *_both(5e-324, 1e-310, 2.2250738585072014e-308), "float64", "clipped, not flushed"),
    GoldenVector("1 - 2**-53", *_both(1 - 2**-53), "float64", "the largest float64 below 1 lies above the clip"),
    GoldenVector("minus zero", *_both(-0.0), "float64", "it is not below 0"),
    GoldenVector("float32", *_both(*map(single, (0.1, 0.7, 1e-7, 0.9999999))), "float32", "cast to float64 first"),
    GoldenVector("float32 0 and 1", *_both(0.0, 1.0), "float32", "the clip is lost in float32: the loss is infinite"),
    GoldenVector("float32 1e-15, 1 - 2**-24", *_both(single(1e-15), 1 - 2**-24), "float32", "extremes in float32"),
    GoldenVector("4,000 rows", *_many(4000), "float64", "as many as the public test"),
    GoldenVector("70,001 rows", *_many(70_001), "float64", "more than any chunk size a file may use"),
)
