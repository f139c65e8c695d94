"""Parse a label's text by a grammar: a decimal number, or what it looks like instead."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfdc_kit.csv_text import Texts

NUMBER, EMPTY, NAN, INFINITE, OTHER = range(5)  # kinds of labels
CHUNK_ROWS = 1 << 16
EXACT_DIGITS = 15
_POWERS = 10.0 ** np.arange(EXACT_DIGITS)

_DECIMAL = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NAN_WORDS = frozenset({b"nan", b"na", b"n/a", b"#n/a", b"null", b"none", b"nil", b"nat", b"<na>", b"-nan", b"+nan"})
_INFINITE = re.compile(rb"[+-]?inf(inity)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParsedLabels:
    """A parsed label column: values (n,), NaN unless the kind (n,) is NUMBER; blanks (n,): blanks around the text."""

    values: npt.NDArray[np.float64]
    kinds: npt.NDArray[np.uint8]
    blanks: npt.NDArray[np.bool_]


def parse_labels(texts: Texts) -> ParsedLabels:
    """Parse a column of labels (n,): `1e-3`, `.5`, `1.`, `+0.5`, `-0.0` are numbers; `0x1`, `1_0`, `1,5` are not.

    >>> labels = parse_labels(np.array([b"0.5", b"1e-3", b" 1 ", b"nan", b"1_0"]))
    >>> labels.values.tolist(), labels.kinds.tolist()
    ([0.5, 0.001, 1.0, nan, nan], [0, 0, 0, 2, 4])
    """
    values, kinds = np.full(len(texts), np.nan), np.full(len(texts), OTHER, np.uint8)
    blanks = blanks_around(texts)
    for first in range(0, len(texts), CHUNK_ROWS):
        rows = slice(first, first + CHUNK_ROWS)
        chunk = texts[rows]
        plain = _is_plain(chunk)
        if plain.all():
            values[rows], kinds[rows] = _plain_values(chunk), NUMBER
            continue
        values[rows][plain], kinds[rows][plain] = _plain_values(chunk[plain]), NUMBER
        for i in (np.flatnonzero(~plain) + first).tolist():
            values[i], kinds[i] = _parse(texts[i].strip())
    return ParsedLabels(values, kinds, blanks)


def is_decimal(text: bytes) -> bool:
    """Whether the whole text is a decimal number."""
    return _DECIMAL.fullmatch(text) is not None


def blanks_around(texts: Texts) -> npt.NDArray[np.bool_]:
    """(n,) whether a text begins or ends with ASCII white space."""
    found = np.zeros(len(texts), np.bool_)
    for first in range(0, len(texts), CHUNK_ROWS):
        rows = slice(first, first + CHUNK_ROWS)
        chars = _chars(texts[rows])  # (rows, width)
        blank = (chars == ord(" ")) | ((chars >= ord("\t")) & (chars <= ord("\r")))
        held = np.flatnonzero(blank.any(axis=1))
        found[held + first] = [text != text.strip() for text in texts[rows][held].tolist()]
    return found


def _chars(texts: Texts) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(texts).view(np.uint8).reshape(len(texts), texts.itemsize)


def _is_plain(texts: Texts) -> npt.NDArray[np.bool_]:
    """(n,) whether a label is a digit, perhaps with a point and digits after it: the usual case, decided fast."""
    chars = _chars(texts)
    digits = (chars - ord("0")) <= 9  # uint8 wraps around: True for 0-9 only
    plain: npt.NDArray[np.bool_] = digits[:, 0]
    if texts.itemsize > 1:
        plain = plain & ((chars[:, 1] == ord(".")) | (chars[:, 1] == 0))
        plain &= (digits[:, 2:] | (chars[:, 2:] == 0)).all(axis=1)
    return plain


def _plain_values(texts: Texts) -> npt.NDArray[np.float64]:
    """The values (n,) of plain labels, correctly rounded.

    Up to 15 digits, digits / power of ten is one rounded division of two numbers that float64 holds exactly.
    """
    width = int(np.strings.str_len(texts).max(initial=1))
    if width > EXACT_DIGITS + 1:  # and the point
        return np.fromiter(map(float, texts.tolist()), np.float64, len(texts))
    digits = _chars(texts.astype(f"S{width}")) - ord("0")  # (n, width)
    number, decimals = digits[:, 0].astype(np.int64), np.zeros(len(texts), np.int64)
    for column in digits.T[2:]:
        is_digit = column <= 9
        number = np.where(is_digit, number * 10 + column, number)
        decimals += is_digit
    return number / _POWERS[decimals]


def _parse(text: bytes) -> tuple[float, int]:
    if not text:
        return np.nan, EMPTY
    if is_decimal(text):
        value = float(text)
        return (np.nan, INFINITE) if np.isinf(value) else (value, NUMBER)  # 1e400
    if text.lower() in _NAN_WORDS:
        return np.nan, NAN
    return np.nan, INFINITE if _INFINITE.fullmatch(text) else OTHER
