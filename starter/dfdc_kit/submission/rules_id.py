"""Rules about row ids."""

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from dfdc_kit.csv_text import MALFORMED, Numbers, Texts, preview
from dfdc_kit.formatting import plural
from dfdc_kit.submission.case import FIRST, Case, Example, RuleFinding
from dfdc_kit.submission.expected_rows import ExpectedRows


def id_empty(case: Case) -> Iterator[RuleFinding]:
    """Rows without an id."""
    if case.ids is not None and len(rows := np.flatnonzero(case.ids == b"")):
        message = f"{plural(len(rows), 'row')} without a {case.wanted[0]}"
        yield RuleFinding(len(rows), message, case.examples(rows, case.ids, "a file name"))


def id_blanks(case: Case) -> Iterator[RuleFinding]:
    """Blanks before or after an id."""
    if case.raw_ids is not None and len(rows := case.id_blanks):
        examples = [
            Example(int(case.text.lines[i]), preview(text), repr(preview(text)), repr(preview(text.strip())))
            for i, text in zip(rows[:FIRST].tolist(), case.raw_ids[rows[:FIRST]].tolist(), strict=True)
        ]
        yield RuleFinding(len(rows), f"{plural(len(rows), 'row')} with blanks around the {case.wanted[0]}", examples)


def id_duplicate(case: Case) -> Iterator[RuleFinding]:
    """Ids that stood before."""
    if case.ids is None or case.match is None:
        return
    rows = case.match.repeated
    rows = rows[case.ids[rows] != b""]
    if len(rows):
        before = [int(case.text.lines[np.argmax(case.ids == case.ids[i])]) for i in rows[:FIRST].tolist()]
        examples = case.examples(rows, case.ids, [f"once; it stands on line {line} already" for line in before])
        yield RuleFinding(len(rows), f"{plural(len(rows), 'row')} with a {case.wanted[0]} that stood before", examples)


def id_missing(case: Case) -> Iterator[RuleFinding]:
    """Expected ids without a row."""
    if case.match is None or case.expected is None or not len(missing := case.match.missing):
        return
    ids = case.expected.ids
    examples = [Example(None, preview(ids[i]), "no row", "one row") for i in missing[:FIRST].tolist()]
    apart = sum(anomaly.count for code, anomaly in case.text.anomalies.items() if code in MALFORMED)
    but = f" (lines that are no rows, told above, do not count: {apart:,})" if apart else ""
    yield RuleFinding(
        len(missing), f"{len(missing):,} of the {plural(len(ids), 'expected row')} not there{but}", examples
    )


def id_unknown(case: Case) -> Iterator[RuleFinding]:
    """Ids that are not expected."""
    if case.ids is None or case.match is None or case.match.where is None or case.expected is None:
        return
    rows = np.flatnonzero((case.match.where < 0) & (case.ids != b""))
    if len(rows):
        told = [_likely(bytes(case.ids[i]), case.expected, case) for i in rows[:FIRST].tolist()]
        examples = case.examples(rows, case.ids, [name or "one of the expected names" for name, _ in told])
        hints = list(dict.fromkeys(hint for _, hint in told if hint))
        message = f"{plural(len(rows), 'row')} with a {case.wanted[0]} that is not expected"
        yield RuleFinding(len(rows), message, examples, " ".join(hints))


def id_form(case: Case) -> Iterator[RuleFinding]:
    """Without a list of expected ids: those that do not look like a video's file name."""
    if case.ids is None or case.expected is not None:
        return
    suffix = case.challenge.data.video_suffix
    good = np.strings.endswith(case.ids, suffix.encode()) & (np.strings.find(case.ids, b"/") < 0)
    rows = np.flatnonzero(~good & (case.ids != b""))
    if len(rows):
        message = f"{plural(len(rows), 'row')} whose {case.wanted[0]} does not look like name{suffix}"
        yield RuleFinding(len(rows), message, case.examples(rows, case.ids, f"name{suffix}"))


def row_order(case: Case) -> Iterator[RuleFinding]:
    """All expected rows, in another order."""
    found, expected = case.match, case.expected
    if case.ids is None or found is None or found.where is None or expected is None:
        return
    if len(found.missing) or len(found.where) != len(expected.ids):
        return
    rows = np.flatnonzero(found.where != np.arange(len(found.where)))
    there = [preview(expected.ids[i]) for i in rows[:FIRST].tolist()]
    message = f"{plural(len(rows), 'row')} in another place than in {expected.origin}"
    yield RuleFinding(len(rows), message, case.examples(rows, case.ids, there))


def _likely(name: bytes, expected: ExpectedRows, case: Case) -> tuple[str, str]:
    """The expected id that was probably meant, and what is wrong with the one seen; empty if nothing comes to mind."""
    suffix = case.challenge.data.video_suffix
    said = preview(name)
    path = PurePosixPath(said.replace("\\", "/"))
    for hint, guess in (
        ("Write the bare file name, without its folder.", path.name),
        (f"The file name includes {suffix}.", said + suffix),
        (f"The file name ends in {suffix}.", path.stem + suffix),
        ("Upper and lower case letters differ.", said.lower()),
        (f"Write the bare file name with {suffix}, in small letters.", path.stem.lower() + suffix),
    ):
        if guess != said and _is_in(guess.encode(), expected.ids):
            return guess, hint
    return "", ""


def _is_in(name: bytes, ids: Texts) -> bool:
    found: Numbers = np.flatnonzero(ids == name)
    return len(found) > 0
