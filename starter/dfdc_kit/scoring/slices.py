"""The loss of slices of the rows (portrait videos, one manipulation) against the rest, corrected for looking at many.

The test is Welch's, robust to clusters (rows of one original): each cluster adds one residual to the standard error.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.errors import UsageError
from dfdc_kit.scoring.intervals import Interval, cluster_codes, mean_interval, within_range

Floats = npt.NDArray[np.float64]
FEWEST_CLUSTERS = 5  # in the slice and in the rest; with fewer, nothing is tested
MOST_VALUES = 20  # a column with more values is cut at its quartiles if they are numbers
LEVEL = 0.05


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The rows with one value of one column, and how their loss differs from that of all other rows with a value."""

    column: str
    value: str
    rows: int
    clusters: int
    loss: float
    interval: Interval | None  # 95 % interval of `loss`; None: too few clusters
    share: float  # of the sum of all losses, 0 to 1
    difference: float  # to the mean loss of the rest; positive: worse
    difference_interval: Interval | None  # 95 %, not corrected; None: too few clusters
    p_value: float | None  # two-sided; None: too few clusters
    p_corrected: float | None  # Holm's correction for all slices tested
    significant: bool  # p_corrected below LEVEL


def find_slices(losses: Floats, columns: Mapping[str, Sequence[str]], clusters: Sequence[str]) -> list[Slice]:
    """All slices, worst first: those with a significant difference, then the others, then those with too few clusters.

    losses (n,); columns: name -> values (n,), "" where unknown; clusters (n,). Raises UsageError for a column with
    neither numbers nor few values.
    """
    codes = cluster_codes(list(clusters), len(losses))
    found = [
        _slice(column, value, losses, codes, inside, known)
        for column, values in columns.items()
        for value, inside, known in _values(column, list(values))
    ]
    corrected = holm([one.p_value for one in found if one.p_value is not None])
    slices = []
    for one in found:
        if one.p_value is not None:
            p = corrected.pop(0)
            one = msgspec.structs.replace(one, p_corrected=p, significant=p < LEVEL)
        slices.append(one)
    return sorted(slices, key=lambda one: (one.p_value is None, not one.significant, -one.difference))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values (n,) adjusted for n tests, in the same order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    back = np.empty_like(p)
    back[order] = adjusted
    return [float(one) for one in back]


def _values(column: str, values: list[str]) -> list[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Name, rows (n,) with the value, and rows (n,) with any value, of each slice of a column."""
    texts = np.array(values)
    known = texts != ""
    names = sorted(set(values) - {""})
    if len(names) <= MOST_VALUES:
        return [(name, texts == name, known) for name in names]
    try:
        numbers = np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        hint = "Choose a column with groups of videos, or with numbers."
        raise UsageError(
            f"{column} has {len(names):,} different values, such as {names[0]!r:.40}.", hint=hint
        ) from None
    edges = np.unique(np.quantile(numbers[known], (0, 0.25, 0.5, 0.75, 1)))
    where = np.clip(np.searchsorted(edges, numbers, "right") - 1, 0, len(edges) - 2)
    return [(f"{edges[at]:.4g} to {edges[at + 1]:.4g}", known & (where == at), known) for at in range(len(edges) - 1)]


def _slice(
    column: str,
    value: str,
    losses: Floats,
    codes: npt.NDArray[np.int64],
    inside: npt.NDArray[np.bool_],
    known: npt.NDArray[np.bool_],
) -> Slice:
    rest = known & ~inside
    clusters = len(np.unique(codes[inside]))
    loss = float(losses[inside].mean())
    difference, interval, p = 0.0, None, None
    if rest.any():
        difference = loss - float(losses[rest].mean())
        if min(clusters, len(np.unique(codes[rest]))) >= FEWEST_CLUSTERS:
            interval, p = difference_test(losses, codes, inside, rest)
    return Slice(
        column=column,
        value=value,
        rows=int(inside.sum()),
        clusters=clusters,
        loss=loss,
        interval=within_range(mean_interval(losses[inside], codes[inside]), losses[inside])
        if clusters >= FEWEST_CLUSTERS
        else None,
        share=float(losses[inside].sum() / losses.sum()) if losses.sum() else 0.0,
        difference=difference,
        difference_interval=interval,
        p_value=p,
        p_corrected=None,
        significant=False,
    )


def difference_test(
    losses: Floats, codes: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_], rest: npt.NDArray[np.bool_]
) -> tuple[Interval, float]:
    """The 95 % interval and the p-value of the difference of two means; p is 0 or 1 where no loss varies.

    losses (n,); codes (n,) the cluster of each row; inside and rest (n,): the rows of either mean.
    """
    from scipy.stats import t

    residuals = np.zeros(len(losses))
    smallest = len(losses)
    for rows, sign in ((inside, 1), (rest, -1)):
        clusters = len(np.unique(codes[rows]))
        smallest = min(smallest, clusters)
        scale = np.sqrt(clusters / (clusters - 1)) / rows.sum()
        residuals[rows] = sign * scale * (losses[rows] - losses[rows].mean())
    error = float(np.sqrt((np.bincount(codes, residuals) ** 2).sum()))
    difference = float(losses[inside].mean() - losses[rest].mean())
    if not error > 1e-12 * abs(difference):  # each side has one loss only, as with a constant prediction
        return Interval(difference, difference), float(difference == 0)
    half = float(t.ppf(0.975, smallest - 1)) * error
    return Interval(difference - half, difference + half), float(2 * t.sf(abs(difference) / error, smallest - 1))
