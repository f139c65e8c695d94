"""Rules about the file as text, its header and the shape of its lines."""

import re
from collections.abc import Callable, Iterator

from dfdc_kit.csv_text import preview
from dfdc_kit.formatting import join_names, plural
from dfdc_kit.submission.parsed import Example, ParsedSubmission, RuleFinding

Check = Callable[[ParsedSubmission], Iterator[RuleFinding]]
_DELIMITERS = {";": "semicolon", "\t": "tab", "|": "vertical bar"}
_COMMA_NUMBER = re.compile(rb"[^,]+,[0-9]+,[0-9]+")


def whole_file(code: str, message: str) -> Check:
    """A rule about the whole file, for the anomaly `code`; `message` may use what was seen instead of a CSV."""

    def check(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
        if anomaly := parsed.text.anomalies.get(code):
            seen = [preview(text) for _, text in anomaly.first]
            yield RuleFinding(1, message.format(seen=join_names(seen), file=parsed.text.path), [])

    return check


def some_lines(code: str, message: str, expected: str = "") -> Check:
    """A rule about single lines with the anomaly `code`."""

    def check(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
        if anomaly := parsed.text.anomalies.get(code):
            examples = [Example(line, "", preview(text), expected) for line, text in anomaly.first]
            yield RuleFinding(anomaly.count, f"{plural(anomaly.count, 'line')} {message}", examples)

    return check


def row_width(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Lines with more or fewer values than the header."""
    if anomaly := parsed.text.anomalies.get("row-width"):
        wanted = plural(len(parsed.header), "value")
        examples = [Example(line, "", preview(text), wanted) for line, text in anomaly.first]
        comma = anomaly.first and all(_COMMA_NUMBER.fullmatch(text) for _, text in anomaly.first)
        fix = "The labels have a decimal comma: write 0.5, not 0,5." if comma else ""
        message = f"{plural(anomaly.count, 'line')} with more or fewer values than the header's {len(parsed.header)}"
        yield RuleFinding(anomaly.count, message, examples, fix)


def delimiter(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Values separated by something other than a comma."""
    for sign, name in _DELIMITERS.items():
        if _is_split_by(parsed, sign):
            example = Example(parsed.text.header_line, "", parsed.header[0], ",".join(parsed.wanted))
            yield RuleFinding(1, f"the values are separated by a {name}, not by a comma", [example])


def header_missing(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """A first line that is data."""
    if parsed.header_is_missing:
        example = Example(parsed.text.header_line, "", ",".join(parsed.header), ",".join(parsed.wanted))
        yield RuleFinding(1, "the first line is a row, not the header", [example])


def header_columns(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Missing, unexpected or repeated columns."""
    if not parsed.header or parsed.header_is_missing or any(_is_split_by(parsed, sign) for sign in _DELIMITERS):
        return
    names = [name.strip().lower() for name in parsed.header]
    wanted = [name.lower() for name in parsed.wanted]
    problems = {
        "missing": [name for name in parsed.wanted if name.lower() not in names],
        "unexpected": [
            preview(name.encode()) or "(no name)" for name in parsed.header if name.strip().lower() not in wanted
        ],
        "repeated": [name for name in parsed.wanted if names.count(name.lower()) > 1],
    }
    if any(problems.values()):
        listed = "; ".join(f"{problem}: {join_names(found)}" for problem, found in problems.items() if found)
        example = Example(
            parsed.text.header_line, "", preview(",".join(parsed.header).encode()), ",".join(parsed.wanted)
        )
        index = names[0] == "" or names[0].startswith("unnamed")
        fix = "The first column is a table's index: df.to_csv(..., index=False)." if index else ""
        yield RuleFinding(sum(map(len, problems.values())), f"columns {listed}", [example], fix)


def header_case(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Column names in the wrong case, or with blanks around them."""
    wanted = {name.lower(): name for name in parsed.wanted}
    found = [name for name in parsed.header if name not in parsed.wanted and name.strip().lower() in wanted]
    if found:
        right = join_names(wanted[name.strip().lower()] for name in found)
        example = Example(parsed.text.header_line, "", join_names(map(repr, found)), right)
        message = f"{plural(len(found), 'column name')} in the wrong case or with blanks around"
        yield RuleFinding(len(found), message, [example])


def column_order(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """Both columns, in the wrong order."""
    if tuple(name.strip().lower() for name in parsed.header) == tuple(name.lower() for name in reversed(parsed.wanted)):
        example = Example(parsed.text.header_line, "", ",".join(parsed.header), ",".join(parsed.wanted))
        yield RuleFinding(1, "the columns are in another order than in the sample submission", [example])


def rows_none(parsed: ParsedSubmission) -> Iterator[RuleFinding]:
    """A header and nothing else."""
    if parsed.header and not len(parsed.text.lines):
        yield RuleFinding(1, "no row can be read", [])


def _is_split_by(parsed: ParsedSubmission, sign: str) -> bool:
    return len(parsed.header) == 1 and sign in parsed.header[0]
