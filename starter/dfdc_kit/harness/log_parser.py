"""What a program ended with, read from the last lines of its log: what it raised, what it said after that."""

import re
from collections.abc import Iterator
from typing import NamedTuple

HEADER = "Traceback (most recent call last)"
FRAME = re.compile(r'\s+File ".*", line \d+')
RAISED = re.compile(r"[A-Za-z_][\w.<>]*(:( .*)?)?$")  # the line of a traceback that names what was raised
NAMED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b")  # such a line, its traceback being cut off
CHAINED = re.compile(r"(During handling of the above exception|The above exception was the direct cause)")
ASIDE = re.compile(r"(Exception in thread .*|Process \S+):$")  # not of the main program, which goes on
IGNORED = re.compile(r"Exception ignored ")  # Python says so itself, mostly while it ends
WARNING = re.compile(r"\S.*:\d+: \w*Warning: ")
GROUP = re.compile(r" +[|+]")
FIRST_OF_GROUP = re.compile(r" +\+-\+-+ 1 -+$")
MESSAGE_LINES = 3
MOST_CHARACTERS = 300


class FailureReason(NamedTuple):
    """raised: what the last traceback names, with its message; said: the last line, if it came after that."""

    raised: str
    said: str


class _Traceback(NamedTuple):
    begin: int
    end: int  # one past the last line of its message
    raised: str
    rank: int  # 2: of the main program; 1: of a thread, a worker, Python's own tracker; 0: an ignored one


def failure_reason(lines: list[str]) -> FailureReason:
    """What a program raised and said last.

    What the last traceback names is the reason unless the program said more below it, other than its own indented
    message lines, warnings, and the tracebacks of threads and of what Python ignores: then the last line is, and
    `raised` what came before. A message that goes on without indentation cannot be told from words that follow.
    """
    lines = _groups_told([line.rstrip() for line in lines])
    found = list(_tracebacks(lines))
    told = max((block for block in found if block.rank), key=lambda block: (block.rank, block.end), default=None)
    inside = {at for block in found for at in range(block.begin, block.end)} | set(_beside(lines))
    if told is None:
        named = [at for at, line in enumerate(lines) if NAMED.match(line) and at not in inside][-1:]
        told = _Traceback(named[0], *_message(lines, named[0]), 2) if named else _Traceback(0, 0, "", 2)
    said = [line.strip() for at, line in enumerate(lines) if at >= told.end and at not in inside and line.strip()]
    return FailureReason(_short(told.raised), _short(said[-1] if said else ""))


def _tracebacks(lines: list[str]) -> Iterator[_Traceback]:
    """Every traceback whose end is there; the beginning of the first may be cut off."""
    at, rank = 0, 2
    while at < len(lines):
        line = lines[at]
        if IGNORED.match(line) or ASIDE.match(line):
            rank = 1 if ASIDE.match(line) else 0
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
    """Where the message that begins at the line `at` ends, and its first lines in one."""
    end = at + 1
    while end < len(lines) and (not lines[end] or lines[end][0].isspace()):
        end += 1
    return end, " ".join(line.strip() for line in lines[at : min(end, at + MESSAGE_LINES)] if line.strip())


def _beside(lines: list[str]) -> Iterator[int]:
    """Lines that are nobody's last words: of warnings, and those that introduce a traceback."""
    warned = ignored = False
    for at, line in enumerate(lines):
        warned = bool(WARNING.match(line)) or (warned and line[:1].isspace())
        bare = ignored and RAISED.match(line)  # Python ignored it, and had no traceback to show
        ignored = bool(IGNORED.match(line))
        if warned or bare or ignored or CHAINED.match(line) or ASIDE.match(line):
            yield at


def _groups_told(lines: list[str]) -> list[str]:
    """The lines, each exception group's traceback made an ordinary one that names the group and its first member."""
    told: list[str] = []
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and GROUP.match(lines[end]):
            end += 1
        drawn = lines[at:end]
        first = next((i for i, line in enumerate(drawn) if FIRST_OF_GROUP.match(line)), None)
        if first is None:
            end = max(end, at + 1)
            told += lines[at:end]
        else:
            names = [_named_in(drawn[:first]), _named_in(drawn[first:])]
            told += [HEADER, "; the first: ".join(name for name in names if name) or "ExceptionGroup"]
        at = end
    return told


def _named_in(drawn: list[str]) -> str:
    bare = (re.sub(r"^ +[|+] ?", "", line) for line in drawn)
    return next((line for line in bare if RAISED.match(line)), "")


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " ..."
