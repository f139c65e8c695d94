"""Exact matching of row ids, by sorting: ten million of them in seconds, without a dictionary's memory."""

from dataclasses import dataclass

import numpy as np

from dfdc_kit.csvtext import Numbers, Texts


@dataclass(frozen=True, slots=True)
class Match:
    """How the ids of a submission (n,) fit the expected ones (m,).

    same: they are equal, in the same order; repeated: rows whose id stood before; missing: indices of expected ids
    without a row; where: (n,) index of the expected id, -1 if it is unknown; None if nothing is expected, or if same.
    """

    same: bool
    repeated: Numbers
    missing: Numbers
    where: Numbers | None


def match(ids: Texts, expected: Texts | None) -> Match:
    """Match `ids` (n,), in any order, with `expected` (m,), which are unique.

    >>> match(np.array([b"b", b"c", b"b"]), np.array([b"a", b"b"]))
    Match(same=False, repeated=array([2]), missing=array([0]), where=array([ 1, -1,  1]))
    """
    none = np.zeros(0, np.int64)
    if expected is not None and len(ids) == len(expected) and bool((ids == expected).all()):
        return Match(True, none, none, None)
    if bool((ids[1:] > ids[:-1]).all()):
        order, ordered, repeated = None, ids, none
    else:
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        repeated = np.sort(order[1:][ordered[1:] == ordered[:-1]])
    if expected is None:
        return Match(False, repeated, none, None)
    where = _find(ordered, expected)
    if order is not None:
        back = np.empty_like(where)
        back[order] = where
        where = back
    hit = np.zeros(len(expected), np.bool_)
    hit[where[where >= 0]] = True
    return Match(False, repeated, np.flatnonzero(~hit), where)


def _find(ordered: Texts, expected: Texts) -> Numbers:
    """(n,) index in `expected` of each of `ordered`, which are sorted; -1 if it is not there."""
    order = np.argsort(expected, kind="stable")
    sorted_ = expected[order]
    if len(ordered) == len(sorted_) and bool((ordered == sorted_).all()):
        return order
    place = np.minimum(np.searchsorted(sorted_, ordered), len(sorted_) - 1)
    return np.where(sorted_[place] == ordered, order[place], -1)
