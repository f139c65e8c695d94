"""Rules about the file as text, its header and the shape of its lines."""

import re
from collections.abc import Callable, Iterator

from dfdc_kit.csv_text import preview
from dfdc_kit.formatting import join_names, plural
from dfdc_kit.submission.case import Case, Example, RuleFinding

Check = Callable[[Case], Iterator[RuleFinding]]
_DELIMITERS = {";": "semicolon", "\t": "tab", "|": "vertical bar"}
_COMMA_NUMBER = re.compile(rb"[^,]+,[0-9]+,[0-9]+")


def whole_file(code: str, message: str) -> Check:
    """A rule about the whole file: the reader noted `code`, perhaps with what it saw instead of a CSV."""

    def check(case: Case) -> Iterator[RuleFinding]:
        if anomaly := case.text.anomalies.get(code):
            seen = [preview(text) for _, text in anomaly.first]
            yield RuleFinding(1, message.format(seen=join_names(seen), file=case.text.path), [])

    return check


def some_lines(code: str, message: str, expected: str = "") -> Check:
    """A rule about single lines: the reader noted `code` for each."""

    def check(case: Case) -> Iterator[RuleFinding]:
        if anomaly := case.text.anomalies.get(code):
            examples = [Example(line, "", preview(text), expected) for line, text in anomaly.first]
            yield RuleFinding(anomaly.count, f"{plural(anomaly.count, 'line')} {message}", examples)

    return check


def row_width(case: Case) -> Iterator[RuleFinding]:
    """Lines with more or fewer values than the header."""
    if anomaly := case.text.anomalies.get("row-width"):
        wanted = plural(len(case.header), "value")
        examples = [Example(line, "", preview(text), wanted) for line, text in anomaly.first]
        comma = anomaly.first and all(_COMMA_NUMBER.fullmatch(text) for _, text in anomaly.first)
        mend = "The labels have a decimal comma: write 0.5, not 0,5." if comma else ""
        message = f"{plural(anomaly.count, 'line')} with more or fewer values than the header's {len(case.header)}"
        yield RuleFinding(anomaly.count, message, examples, mend)


def delimiter(case: Case) -> Iterator[RuleFinding]:
    """Values separated by something else than a comma."""
    for sign, name in _DELIMITERS.items():
        if _is_split_by(case, sign):
            example = Example(case.text.header_line, "", case.header[0], ",".join(case.wanted))
            yield RuleFinding(1, f"the values are separated by a {name}, not by a comma", [example])


def header_missing(case: Case) -> Iterator[RuleFinding]:
    """A first line that is data."""
    if case.header_is_missing:
        example = Example(case.text.header_line, "", ",".join(case.header), ",".join(case.wanted))
        yield RuleFinding(1, "the first line is a row, not the header", [example])


def header_columns(case: Case) -> Iterator[RuleFinding]:
    """Missing, unexpected or repeated columns."""
    if not case.header or case.header_is_missing or any(_is_split_by(case, sign) for sign in _DELIMITERS):
        return
    names = [name.strip().lower() for name in case.header]
    wanted = [name.lower() for name in case.wanted]
    problems = {
        "missing": [name for name in case.wanted if name.lower() not in names],
        "unexpected": [
            preview(name.encode()) or "(no name)" for name in case.header if name.strip().lower() not in wanted
        ],
        "repeated": [name for name in case.wanted if names.count(name.lower()) > 1],
    }
    if any(problems.values()):
        said = "; ".join(f"{problem}: {join_names(found)}" for problem, found in problems.items() if found)
        example = Example(case.text.header_line, "", preview(",".join(case.header).encode()), ",".join(case.wanted))
        index = names[0] == "" or names[0].startswith("unnamed")
        mend = "The first column is a table's index: df.to_csv(..., index=False)." if index else ""
        yield RuleFinding(sum(map(len, problems.values())), f"columns {said}", [example], mend)


def header_case(case: Case) -> Iterator[RuleFinding]:
    """Column names in other letters, or with blanks around them."""
    wanted = {name.lower(): name for name in case.wanted}
    found = [name for name in case.header if name not in case.wanted and name.strip().lower() in wanted]
    if found:
        right = join_names(wanted[name.strip().lower()] for name in found)
        example = Example(case.text.header_line, "", join_names(map(repr, found)), right)
        message = f"{plural(len(found), 'column name')} in other letters or with blanks around"
        yield RuleFinding(len(found), message, [example])


def column_order(case: Case) -> Iterator[RuleFinding]:
    """Both columns are there, the other way round."""
    if tuple(name.strip().lower() for name in case.header) == tuple(name.lower() for name in reversed(case.wanted)):
        example = Example(case.text.header_line, "", ",".join(case.header), ",".join(case.wanted))
        yield RuleFinding(1, "the columns stand in another order than in the sample submission", [example])


def rows_none(case: Case) -> Iterator[RuleFinding]:
    """A header and nothing else."""
    if case.header and not len(case.text.lines):
        yield RuleFinding(1, "there is no row that can be read", [])


def _is_split_by(case: Case, sign: str) -> bool:
    return len(case.header) == 1 and sign in case.header[0]
