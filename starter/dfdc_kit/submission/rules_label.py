"""Rules about labels."""

import math
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dfdc_kit.csv_text import Numbers, preview
from dfdc_kit.formatting import plural
from dfdc_kit.submission.case import FIRST, Case, Example, RuleFinding
from dfdc_kit.submission.label_text import EMPTY, INFINITE, NAN, OTHER

EPSILON = 1e-15  # where log loss is clipped: evaluate.EPSILON, and a test holds the two together
WORST = -math.log(EPSILON)  # 34.54, what one row costs at most
MANY = 20  # a value is repeated in many rows if more than one in 20 has it
A_PROBABILITY = "a number from 0 to 1"


def label_empty(case: Case) -> Iterator[RuleFinding]:
    """Labels without any text."""
    yield from _of_kind(case, EMPTY, "without a label")


def label_nan(case: Case) -> Iterator[RuleFinding]:
    """NaN, NA, null, None and their like."""
    yield from _of_kind(case, NAN, "whose label says that there is no value")


def label_infinite(case: Case) -> Iterator[RuleFinding]:
    """Infinity, in words or by a huge exponent."""
    yield from _of_kind(case, INFINITE, "with an infinite label")


def label_not_number(case: Case) -> Iterator[RuleFinding]:
    """Anything else that is not a decimal number."""
    yield from _of_kind(case, OTHER, "whose label is not a decimal number")


def label_out_of_range(case: Case) -> Iterator[RuleFinding]:
    """Numbers below 0 or above 1."""
    if case.labels is None or case.raw_labels is None:
        return
    values = case.labels.values[case.numbers]
    rows = case.numbers[~((values >= 0) & (values <= 1))]
    if len(rows):
        message = f"{plural(len(rows), 'row')} with a label outside 0 to 1"
        mend = ""
        if values.min() >= 0 and 2 < values.max() <= 100:
            mend = "The labels look like percent: divide them by 100."
        elif values.min() < 0:
            mend = "The labels look like logits or scores: apply the sigmoid, 1 / (1 + exp(-x))."
        yield RuleFinding(len(rows), message, case.examples(rows, case.raw_labels, A_PROBABILITY), mend)


def label_blanks(case: Case) -> Iterator[RuleFinding]:
    """Blanks before or after a label."""
    if case.labels is None or case.raw_labels is None or case.raw_ids is None:
        return
    rows = np.flatnonzero(case.labels.blanks & (case.labels.kinds != EMPTY))
    if len(rows):
        examples = [
            Example(int(case.text.lines[i]), preview(case.raw_ids[i]), repr(preview(text)), repr(preview(text.strip())))
            for i, text in zip(rows[:FIRST].tolist(), case.raw_labels[rows[:FIRST]].tolist(), strict=True)
        ]
        yield RuleFinding(len(rows), f"{plural(len(rows), 'row')} with blanks around the label", examples)


def label_sample_value(case: Case) -> Iterator[RuleFinding]:
    """Rows that still have the one label of the sample submission."""
    value = None if case.expected is None else case.expected.sample_value
    if value is None or _is_hard(case):
        return
    rows = _rows_at(case, value)
    if len(rows):
        cost = (
            f"; a wrong one costs {WORST:.2f} in that row"
            if value in (0, 1) and case.challenge.metric.is_log_loss
            else ""
        )
        message = f"{_share(case, rows)} still at the sample submission's {value:g}{cost}"
        yield RuleFinding(len(rows), message, _examples(case, rows, "a prediction"))


def label_repeated(case: Case) -> Iterator[RuleFinding]:
    """One value in many rows, the sample's value and exact 0 and 1 apart, which have their own rules."""
    if case.labels is None or len(case.numbers) < MANY // 4:
        return
    value = _most_common(case.labels.values[case.numbers])
    told = {0.0, 1.0, None if case.expected is None else case.expected.sample_value}
    rows = _rows_at(case, value)
    if value not in told and len(rows) > max(2, len(case.numbers) // MANY):
        yield RuleFinding(
            len(rows), f"{_share(case, rows)} with the same label {value:g}", _examples(case, rows, "a prediction")
        )


def label_extreme(case: Case) -> Iterator[RuleFinding]:
    """Exactly 0 or exactly 1, among other values."""
    if case.labels is None or _is_hard(case):
        return
    sample_value = None if case.expected is None else case.expected.sample_value  # has its own rule
    rows = np.sort(np.concatenate([_rows_at(case, value) for value in (0.0, 1.0) if value != sample_value]))
    if len(rows):
        cost = f": one that is wrong costs {WORST:.2f} in that row" if case.challenge.metric.is_log_loss else ""
        yield RuleFinding(
            len(rows), f"{_share(case, rows)} at exactly 0 or 1{cost}", _examples(case, rows, "0.01 or 0.99")
        )


def label_classes(case: Case) -> Iterator[RuleFinding]:
    """Nothing but 0 and 1: classes, not probabilities."""
    if _is_hard(case):
        cost = f": each one that is wrong costs {WORST:.2f}" if case.challenge.metric.is_log_loss else ""
        message = f"all {plural(len(case.numbers), 'label')} are 0 or 1{cost}"
        yield RuleFinding(len(case.numbers), message, _examples(case, case.numbers, "a probability"))


def label_inverted(case: Case) -> Iterator[RuleFinding]:
    """Where the truth is at hand: the opposite labels fit it clearly better, by more than three standard errors."""
    if case.labels is None or case.match is None or case.expected is None or case.expected.labels is None:
        return
    where = case.match.where
    rows = case.numbers if where is None else case.numbers[where[case.numbers] >= 0]
    truth = case.expected.labels[rows if where is None else where[rows]]  # (rows,)
    p = np.clip(case.labels.values[rows], EPSILON, 1 - EPSILON)
    as_is = -np.log(np.where(truth == 1, p, 1 - p))
    opposite = -np.log(np.where(truth == 1, 1 - p, p))
    gain = as_is - opposite  # (rows,)
    if len(gain) > 1 and gain.mean() > max(0.05, 3 * gain.std(ddof=1) / math.sqrt(len(gain))):
        means = f"mean log loss {as_is.mean():.3f}, with 1 - label {opposite.mean():.3f}"
        yield RuleFinding(len(rows), f"the opposite labels fit {case.expected.origin} better: {means}", [])


def _of_kind(case: Case, kind: int, message: str) -> Iterator[RuleFinding]:
    if case.labels is None or case.raw_labels is None:
        return
    rows = np.flatnonzero(case.labels.kinds == kind)
    if len(rows):
        hints = dict.fromkeys(_hint(text, case) for text in case.raw_labels[rows[:1000]].tolist())
        examples = case.examples(rows, case.raw_labels, A_PROBABILITY)
        yield RuleFinding(len(rows), f"{plural(len(rows), 'row')} {message}", examples, " ".join(filter(None, hints)))


def _hint(text: bytes, case: Case) -> str:
    """What this text probably was meant to be."""
    said = text.strip().decode("utf-8", "replace").lower()
    columns = case.challenge.submission
    if said in (columns.positive.lower(), columns.negative.lower(), "true", "false"):
        return f"Write the probability of {columns.positive}, not a class."
    for pattern, hint in (
        (r"[+-]?\d*,\d+", "Write a decimal point: 0.5, not 0,5."),
        (r"[+-]?[\d.]+ ?%", "Write a fraction, not percent: 0.5, not 50%."),
        (r"[+-]?0x[0-9a-f]+", "Write a decimal number, not a hexadecimal one."),
        (r"[+-]?[\d_.]+", "Write the digits without underscores, and one point at most."),
        (r"\[.*\]|tensor\(.*", "This is a whole array: take the number out of it, value.item()."),
    ):
        if re.fullmatch(pattern, said, re.ASCII):
            return hint
    return ""


def _rows_at(case: Case, value: float) -> Numbers:
    return np.flatnonzero([]) if case.labels is None else np.flatnonzero(case.labels.values == value)


def _most_common(values: npt.NDArray[np.float64]) -> float:
    ordered = np.sort(values)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return float(ordered[starts[np.argmax(np.diff(starts, append=len(ordered)))]])


def _is_hard(case: Case) -> bool:
    """Whether all labels are 0 or 1, and both are there."""
    if case.labels is None or not len(case.numbers):
        return False
    values = case.labels.values[case.numbers]
    return bool(((values == 0) | (values == 1)).all() and values.min() < values.max())


def _share(case: Case, rows: Numbers) -> str:
    return f"{len(rows):,} of {plural(len(case.text.lines), 'row')}"


def _examples(case: Case, rows: Numbers, expected: str) -> list[Example]:
    return [] if case.raw_labels is None else case.examples(rows, case.raw_labels, expected)
