"""Rules about labels."""

import math
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dfdc_kit.csv_text import Numbers, preview
from dfdc_kit.formatting import plural
from dfdc_kit.submission.label_text import EMPTY, INFINITE, NAN, OTHER
from dfdc_kit.submission.parsed import Example, ParsedSubmission, RuleFinding

EPSILON = 1e-15  # where log loss is clipped: evaluate.EPSILON (a test compares the two)
WORST = -math.log(EPSILON)  # 34.54, what one row costs at most
MANY = 20  # a value is repeated in many rows if more than one in 20 has it
A_PROBABILITY = "a number from 0 to 1"


def label_empty(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Labels without any text."""
    yield from _of_kind(parsed, EMPTY, "without a label")


def label_nan(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """NaN, NA, null, None and similar words."""
    yield from _of_kind(parsed, NAN, "whose label is NaN, NA, null or None")


def label_infinite(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Infinity, in words or by a huge exponent."""
    yield from _of_kind(parsed, INFINITE, "with an infinite label")


def label_not_number(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Anything else that is not a decimal number."""
    yield from _of_kind(parsed, OTHER, "whose label is not a decimal number")


def label_out_of_range(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Numbers below 0 or above 1."""
    if parsed.labels is None or parsed.raw_labels is None:
        return
    values = parsed.labels.values[parsed.numbers]
    rows = parsed.numbers[~((values >= 0) & (values <= 1))]
    if len(rows):
        message = f"{plural(len(rows), 'row')} with a label outside 0 to 1"
        fix = ""
        if values.min() >= 0 and 2 < values.max() <= 100:
            fix = "The labels look like percent: divide them by 100."
        elif values.min() < 0:
            fix = "The labels look like logits or scores: apply the sigmoid, 1 / (1 + exp(-x))."
        yield RuleFinding(len(rows), message, parsed.examples(rows, parsed.raw_labels, A_PROBABILITY), fix)


def label_blanks(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Blanks before or after a label."""
    if parsed.labels is None or parsed.raw_labels is None or parsed.raw_ids is None:
        return
    rows = np.flatnonzero(parsed.labels.blanks & (parsed.labels.kinds != EMPTY))
    if len(rows):
        examples = [
            Example(
                int(parsed.text.lines[i]), preview(parsed.raw_ids[i]), repr(preview(text)), repr(preview(text.strip()))
            )
            for i, text in zip(
                rows[: parsed.most].tolist(), parsed.raw_labels[rows[: parsed.most]].tolist(), strict=True
            )
        ]
        yield RuleFinding(len(rows), f"{plural(len(rows), 'row')} with blanks around the label", examples)


def label_sample_value(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Rows that still have the one label of the sample submission."""
    value = None if parsed.expected is None else parsed.expected.sample_value
    if value is None or _is_hard(parsed):
        return
    rows = _rows_at(parsed, value)
    if len(rows):
        cost = (
            f"; a wrong one costs {WORST:.2f} in that row"
            if value in (0, 1) and parsed.challenge.metric.is_log_loss
            else ""
        )
        message = f"{_share(parsed, rows)} still at the sample submission's {value:g}{cost}"
        yield RuleFinding(len(rows), message, _examples(parsed, rows, "a prediction"))


def label_repeated(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """One value in many rows; the sample's value and exact 0 and 1 have rules of their own."""
    if parsed.labels is None or len(parsed.numbers) < MANY // 4:
        return
    value = _most_common(parsed.labels.values[parsed.numbers])
    other_rules = {0.0, 1.0, None if parsed.expected is None else parsed.expected.sample_value}
    rows = _rows_at(parsed, value)
    if value not in other_rules and len(rows) > max(2, len(parsed.numbers) // MANY):
        yield RuleFinding(
            len(rows), f"{_share(parsed, rows)} with the same label {value:g}", _examples(parsed, rows, "a prediction")
        )


def label_extreme(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Exactly 0 or exactly 1, among other values."""
    if parsed.labels is None or _is_hard(parsed):
        return
    sample_value = None if parsed.expected is None else parsed.expected.sample_value  # has its own rule
    rows = np.sort(np.concatenate([_rows_at(parsed, value) for value in (0.0, 1.0) if value != sample_value]))
    if len(rows):
        cost = f": one that is wrong costs {WORST:.2f} in that row" if parsed.challenge.metric.is_log_loss else ""
        yield RuleFinding(
            len(rows), f"{_share(parsed, rows)} at exactly 0 or 1{cost}", _examples(parsed, rows, "0.01 or 0.99")
        )


def label_classes(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Nothing but 0 and 1: classes, not probabilities."""
    if _is_hard(parsed):
        cost = f": each one that is wrong costs {WORST:.2f}" if parsed.challenge.metric.is_log_loss else ""
        message = f"all {plural(len(parsed.numbers), 'label')} are 0 or 1{cost}"
        yield RuleFinding(len(parsed.numbers), message, _examples(parsed, parsed.numbers, "a probability"))


def label_inverted(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """With a solution: the opposite labels fit it better by more than three standard errors."""
    if parsed.labels is None or parsed.match is None or parsed.expected is None or parsed.expected.labels is None:
        return
    where = parsed.match.where
    rows = parsed.numbers if where is None else parsed.numbers[where[parsed.numbers] >= 0]
    labels = parsed.expected.labels[rows if where is None else where[rows]]  # (rows,)
    p = np.clip(parsed.labels.values[rows], EPSILON, 1 - EPSILON)
    as_is = -np.log(np.where(labels == 1, p, 1 - p))
    opposite = -np.log(np.where(labels == 1, 1 - p, p))
    gain = as_is - opposite  # (rows,)
    if len(gain) > 1 and gain.mean() > max(0.05, 3 * gain.std(ddof=1) / math.sqrt(len(gain))):
        means = f"mean log loss {as_is.mean():.3f}, with 1 - label {opposite.mean():.3f}"
        yield RuleFinding(len(rows), f"the opposite labels fit {parsed.expected.origin} better: {means}", [])


def _of_kind(parsed: ParsedSubmission, kind: int, message: str) -> Iterator[RuleFinding]:
    if parsed.labels is None or parsed.raw_labels is None:
        return
    rows = np.flatnonzero(parsed.labels.kinds == kind)
    if len(rows):
        hints = dict.fromkeys(_hint(text, parsed) for text in parsed.raw_labels[rows[:1000]].tolist())
        examples = parsed.examples(rows, parsed.raw_labels, A_PROBABILITY)
        yield RuleFinding(len(rows), f"{plural(len(rows), 'row')} {message}", examples, " ".join(filter(None, hints)))


def _hint(text: bytes, parsed: ParsedSubmission) -> str:
    """Advice on what this text was probably meant to be."""
    label = text.strip().decode("utf-8", "replace").lower()
    columns = parsed.challenge.submission
    if label in (columns.positive.lower(), columns.negative.lower(), "true", "false"):
        return f"Write the probability of {columns.positive}, not a class."
    for pattern, hint in (
        (r"[+-]?\d*,\d+", "Write a decimal point: 0.5, not 0,5."),
        (r"[+-]?[\d.]+ ?%", "Write a fraction, not percent: 0.5, not 50%."),
        (r"[+-]?0x[0-9a-f]+", "Write a decimal number, not a hexadecimal one."),
        (r"[+-]?[\d_.]+", "Write the digits without underscores, and one point at most."),
        (r"\[.*\]|tensor\(.*", "This is an array: take the number out of it, value.item()."),
    ):
        if re.fullmatch(pattern, label, re.ASCII):
            return hint
    return ""


def _rows_at(parsed: ParsedSubmission, value: float) -> Numbers:
    return np.flatnonzero([]) if parsed.labels is None else np.flatnonzero(parsed.labels.values == value)


def _most_common(values: npt.NDArray[np.float64]) -> float:
    ordered = np.sort(values)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return float(ordered[starts[np.argmax(np.diff(starts, append=len(ordered)))]])


def _is_hard(parsed: ParsedSubmission) -> bool:
    """Whether all labels are 0 or 1, and both are there."""
    if parsed.labels is None or not len(parsed.numbers):
        return False
    values = parsed.labels.values[parsed.numbers]
    return bool(((values == 0) | (values == 1)).all() and values.min() < values.max())


def _share(parsed: ParsedSubmission, rows: Numbers) -> str:
    return f"{len(rows):,} of {plural(len(parsed.text.lines), 'row')}"


def _examples(parsed: ParsedSubmission, rows: Numbers, expected: str) -> list[Example]:
    return [] if parsed.raw_labels is None else parsed.examples(rows, parsed.raw_labels, expected)
