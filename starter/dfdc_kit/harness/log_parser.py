"""Why a program failed, read from the last lines of its log: the exception, and the output after it."""

import re
from collections.abc import Iterator
from typing import NamedTuple

HEADER = "Traceback (most recent call last)"
FRAME = re.compile(r'\s+File ".*", line \d+')
RAISED = re.compile(r"[A-Za-z_][\w.<>]*(:( .*)?)?$")  # the line of a traceback that names the exception
NAMED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b")  # such a line whose traceback is cut off
CHAINED = re.compile(r"(During handling of the above exception|The above exception was the direct cause)")
OTHER_THREAD = re.compile(r"(Exception in thread .*|Process \S+):$")  # the main program goes on
IGNORED = re.compile(r"Exception ignored ")  # Python's own words, mostly at exit
WARNING = re.compile(r"\S.*:\d+: \w*Warning: ")
GROUP = re.compile(r" +[|+]")
FIRST_OF_GROUP = re.compile(r" +\+-\+-+ 1 -+$")
SYNTAX_ERROR = re.compile(r"(SyntaxError|IndentationError|TabError)\b")
PLACE = re.compile(r'(?:File )?"?((?:Cell |Input )?In ?\[\d+\]|[^"]+?)"?, line (\d+)')
MESSAGE_LINES = 3
MOST_CHARACTERS = 300


class FailureReason(NamedTuple):
    """exception: the last traceback's exception with its message; last_line: the last line printed after it."""

    exception: str
    last_line: str


class _Traceback(NamedTuple):
    begin: int
    end: int  # one past the last line of its message
    exception: str
    rank: int  # 2: of the main program; 1: of a thread, a worker, Python's resource tracker; 0: ignored by Python


def failure_reason(lines: list[str]) -> FailureReason:
    """The exception that ended a program, and the last line that it printed after that; either may be empty.

    Not counted as printed after it: the indented lines of the message, warnings, and tracebacks of threads and of
    exceptions that Python ignores. A message that continues without indentation cannot be told from later output.
    """
    lines = _flatten_groups([line.rstrip() for line in lines])
    found = list(_tracebacks(lines))
    main = max((block for block in found if block.rank), key=lambda block: (block.rank, block.end), default=None)
    skipped = {at for block in found for at in range(block.begin, block.end)} | set(_secondary_lines(lines))
    if main is None:
        named = [at for at, line in enumerate(lines) if NAMED.match(line) and at not in skipped][-1:]
        main = _Traceback(named[0], *_message(lines, named[0]), 2) if named else _Traceback(0, 0, "", 2)
    after = [line.strip() for at, line in enumerate(lines) if at >= main.end and at not in skipped and line.strip()]
    return FailureReason(_shorten(main.exception), _shorten(after[-1] if after else ""))


def summarize_failure(lines: list[str]) -> str:
    """One or two sentences: the exception and the last output after it; empty if there is neither."""
    exception, last_line = failure_reason(lines)
    if exception and last_line:
        return sentences(exception, f"Last output: {last_line}").removesuffix(".")
    return exception or last_line


def syntax_error_place(lines: list[str]) -> str:
    """File and line of a SyntaxError in the log of a program, as "main.py, line 3"; empty if there is none."""
    ends = [at for at, line in enumerate(lines) if SYNTAX_ERROR.match(line.strip())]
    places = [match for line in lines[: ends[-1]] if (match := PLACE.match(line.strip()))] if ends else []
    return f"{places[-1][1].rpartition('/')[2]}, line {places[-1][2]}" if places else ""


def sentences(*parts: str) -> str:
    """The parts that are not empty, each with a full stop unless it ends like a sentence."""
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)


def _tracebacks(lines: list[str]) -> Iterator[_Traceback]:
    """Every traceback that has its end; the beginning of the first may be cut off."""
    at, rank = 0, 2
    while at < len(lines):
        line = lines[at]
        if IGNORED.match(line) or OTHER_THREAD.match(line):
            rank = 1 if OTHER_THREAD.match(line) else 0
        elif HEADER not in line and not FRAME.match(line):
            rank = rank if not line or line[0].isspace() or CHAINED.match(line) else 2
        elif (raised := next((i for i in range(at + 1, len(lines)) if RAISED.match(lines[i])), None)) is not None:
            frames = [line for line in lines[at:raised] if FRAME.match(line)]
            tracker = bool(frames) and all("resource_tracker.py" in line for line in frames)
            end, message = _message(lines, raised)
            yield _Traceback(at, end, message, min(rank, 1) if tracker else rank)
            at = end
            rank = rank if at < len(lines) and CHAINED.match(lines[at]) else 2
            continue
        at += 1


def _message(lines: list[str], at: int) -> tuple[int, str]:
    """Where the message that begins at line `at` ends, and its first lines joined."""
    end = at + 1
    while end < len(lines) and (not lines[end] or lines[end][0].isspace()):
        end += 1
    return end, " ".join(line.strip() for line in lines[at : min(end, at + MESSAGE_LINES)] if line.strip())


def _secondary_lines(lines: list[str]) -> Iterator[int]:
    """Lines of warnings, and those that introduce a traceback."""
    warned = ignored = False
    for at, line in enumerate(lines):
        warned = bool(WARNING.match(line)) or (warned and line[:1].isspace())
        bare = ignored and RAISED.match(line)  # ignored by Python, without a traceback
        ignored = bool(IGNORED.match(line))
        if warned or bare or ignored or CHAINED.match(line) or OTHER_THREAD.match(line):
            yield at


def _flatten_groups(lines: list[str]) -> list[str]:
    """The lines, with an exception group's traceback replaced by an ordinary one of the group and its first member."""
    flat: list[str] = []
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and GROUP.match(lines[end]):
            end += 1
        drawn = lines[at:end]
        first = next((i for i, line in enumerate(drawn) if FIRST_OF_GROUP.match(line)), None)
        if first is None:
            end = max(end, at + 1)
            flat += lines[at:end]
        else:
            names = [_named_in(drawn[:first]), _named_in(drawn[first:])]
            flat += [HEADER, "; the first: ".join(name for name in names if name) or "ExceptionGroup"]
        at = end
    return flat


def _named_in(drawn: list[str]) -> str:
    bare = (re.sub(r"^ +[|+] ?", "", line) for line in drawn)
    return next((line for line in bare if RAISED.match(line)), "")


def _shorten(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " ..."
