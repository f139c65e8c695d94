"""Rules about row ids."""

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from dfdc_kit.csv_text import MALFORMED, Numbers, Texts, preview
from dfdc_kit.formatting import plural
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.parsed import Example, ParsedSubmission, RuleFinding


def id_empty(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Rows without an id."""
    if parsed.ids is not None and len(rows := np.flatnonzero(parsed.ids == b"")):
        message = f"{plural(len(rows), 'row')} without a {parsed.wanted[0]}"
        yield RuleFinding(len(rows), message, parsed.examples(rows, parsed.ids, "a file name"))


def id_blanks(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Blanks before or after an id."""
    if parsed.raw_ids is not None and len(rows := parsed.id_blanks):
        examples = [
            Example(int(parsed.text.lines[i]), preview(text), repr(preview(text)), repr(preview(text.strip())))
            for i, text in zip(rows[: parsed.most].tolist(), parsed.raw_ids[rows[: parsed.most]].tolist(), strict=True)
        ]
        yield RuleFinding(len(rows), f"{plural(len(rows), 'row')} with blanks around the {parsed.wanted[0]}", examples)


def id_duplicate(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Ids that an earlier row has."""
    if parsed.ids is None or parsed.match is None:
        return
    rows = parsed.match.repeated
    rows = rows[parsed.ids[rows] != b""]
    if len(rows):
        _, first, inverse = np.unique(parsed.ids, return_index=True, return_inverse=True)
        earlier = first[inverse[rows]]  # (rows,) the first row with the same id
        expected = [_once(parsed, i, j) for i, j in zip(rows[: parsed.most].tolist(), earlier.tolist(), strict=False)]
        message = f"{plural(len(rows), 'row')} with the {parsed.wanted[0]} of an earlier row"
        message += _differing_labels(parsed, rows, earlier)
        yield RuleFinding(len(rows), message, parsed.examples(rows, parsed.ids, expected))


def _once(parsed: ParsedSubmission, row: int, earlier: int) -> str:
    line = int(parsed.text.lines[earlier])
    if parsed.raw_labels is None:
        return f"once; line {line} has it already"
    label, before = parsed.raw_labels[row], parsed.raw_labels[earlier]
    which = "the same label" if label == before else f"label {preview(before)} instead of {preview(label)}"
    return f"once; line {line} has it already, with {which}"


def _differing_labels(parsed: ParsedSubmission, rows: Numbers, earlier: Numbers) -> str:
    """Whether repeated rows have other labels than the first."""
    if parsed.raw_labels is None:
        return ""
    other = int((parsed.raw_labels[rows] != parsed.raw_labels[earlier]).sum())
    return f", {other:,} of them with another label" if other else ", all with the same label"


def id_missing(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Expected ids without a row."""
    if parsed.match is None or parsed.expected is None or not len(missing := parsed.match.missing):
        return
    ids = parsed.expected.ids
    examples = [Example(None, preview(ids[i]), "no row", "one row") for i in missing[: parsed.most].tolist()]
    malformed = sum(anomaly.count for code, anomaly in parsed.text.anomalies.items() if code in MALFORMED)
    but = f" ({plural(malformed, 'line')} above cannot be read as a row)" if malformed else ""
    yield RuleFinding(
        len(missing), f"{len(missing):,} of the {plural(len(ids), 'expected row')} missing{but}", examples
    )


def id_unknown(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Ids that are not expected."""
    if parsed.ids is None or parsed.match is None or parsed.match.where is None or parsed.expected is None:
        return
    rows = np.flatnonzero((parsed.match.where < 0) & (parsed.ids != b""))
    if len(rows):
        guesses = [_likely(bytes(parsed.ids[i]), parsed.expected, parsed) for i in rows[: parsed.most].tolist()]
        examples = parsed.examples(rows, parsed.ids, [name or "one of the expected names" for name, _ in guesses])
        hints = list(dict.fromkeys(hint for _, hint in guesses if hint))
        message = f"{plural(len(rows), 'row')} with a {parsed.wanted[0]} that is not expected"
        if not hints and len(rows) == len(parsed.ids):
            hints = [f"No name is in {parsed.expected.origin}: it belongs to another data set, or the submission does."]
        yield RuleFinding(len(rows), message, examples, " ".join(hints))


def id_form(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Without expected ids: those that do not look like a video's file name."""
    if parsed.ids is None or parsed.expected is not None:
        return
    suffix = parsed.challenge.data.video_suffix
    good = np.strings.endswith(parsed.ids, suffix.encode()) & (np.strings.find(parsed.ids, b"/") < 0)
    rows = np.flatnonzero(~good & (parsed.ids != b""))
    if len(rows):
        message = f"{plural(len(rows), 'row')} whose {parsed.wanted[0]} does not look like name{suffix}"
        yield RuleFinding(len(rows), message, parsed.examples(rows, parsed.ids, f"name{suffix}"))


def row_order(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """All expected rows, in another order."""
    found, expected = parsed.match, parsed.expected
    if parsed.ids is None or found is None or found.where is None or expected is None:
        return
    if len(found.missing) or len(found.where) != len(expected.ids):
        return
    rows = np.flatnonzero(found.where != np.arange(len(found.where)))
    right = [preview(expected.ids[i]) for i in rows[: parsed.most].tolist()]
    message = f"{plural(len(rows), 'row')} in another order than in {expected.origin}"
    yield RuleFinding(len(rows), message, parsed.examples(rows, parsed.ids, right))


def _likely(name: bytes, expected: ExpectedRows, parsed: ParsedSubmission) -> tuple[str, str]:
    """The expected id that was probably meant, and what is wrong with the one seen; empty if none is likely."""
    suffix = parsed.challenge.data.video_suffix
    seen = preview(name)
    path = PurePosixPath(seen.replace("\\", "/"))
    for hint, guess in (
        ("Write the bare file name, without its folder.", path.name),
        (f"The file name includes {suffix}.", seen + suffix),
        (f"The file name ends in {suffix}.", path.stem + suffix),
        ("Upper and lower case letters differ.", seen.lower()),
        (f"Write the bare file name with {suffix}, in small letters.", path.stem.lower() + suffix),
    ):
        if guess != seen and _is_in(guess.encode(), expected.ids):
            return guess, hint
    return "", ""


def _is_in(name: bytes, ids: Texts) -> bool:
    found: Numbers = np.flatnonzero(ids == name)
    return len(found) > 0
