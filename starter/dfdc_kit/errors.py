"""The errors that the kit foresees. Each says what was seen and expected; its exit code says whose fault it is.

Exit codes: 0 success; 1 the submission is at fault; 2 wrong usage; 3 and up: this machine or the kit.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import ClassVar

MOST_LISTED = 25  # choices in one hint
FIRST_FAULTS = 5  # of a file, on the screen


class KitError(Exception):
    """A foreseeable fault. `str(error)` says what was seen and expected, `hint` what to do about it.

    `command` is the next command to type, where there is one: it is printed as it is, so it holds no prose.
    `faults`: every fault of a file, one a line; `str(error)` ends with the first FIRST_FAULTS of them.
    """

    code: ClassVar[str] = "kit-error"
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str = "", command: str = "", faults: Iterable[str] = ()) -> None:
        self.faults = tuple(faults)
        self.summary = message
        super().__init__(self.text(FIRST_FAULTS))
        self.hint = hint
        self.command = command

    def text(self, most: int) -> str:
        """The message with at most that many of its faults."""
        more = len(self.faults) - most
        lines = [*self.faults[:most], *([f"and {more:,} more (--json lists all)"] if more > 0 else [])]
        return "\n  ".join([self.summary, *lines])


class SubmissionError(KitError):
    """The code submission or its CSV cannot be used as it is."""

    code = "submission-error"
    exit_code = 1


class UsageError(KitError):
    """A command was given an option, name or path that does not exist or does not fit."""

    code = "usage-error"
    exit_code = 2


class DataMissingError(KitError, FileNotFoundError):
    """A required file or folder is missing."""

    code = "missing-data"


class DataError(KitError, ValueError):
    """A file of the challenge or its host (solution, metadata, sample submission, settings) is broken."""

    code = "invalid-data"


class MetricError(KitError):
    """A metric file cannot be loaded, or failed on valid input: never the participant's fault."""

    code = "metric-error"


class SandboxError(KitError):
    """The sandbox failed; says nothing about the submission."""

    code = "sandbox-error"


class OutputError(KitError, OSError):
    """A result could not be written: disk full, read-only folder, no permission."""

    code = "output-error"
    exit_code = 4


class KaggleError(KitError):
    """Kaggle or the network refused a request: credentials, rules, limits, proxy. `reason` is a code to test for."""

    code = "kaggle-error"
    exit_code = 5

    def __init__(self, message: str, *, hint: str = "", command: str = "", reason: str = "other") -> None:
        super().__init__(message, hint=hint, command=command)
        self.reason = reason


ERRORS: tuple[type[KitError], ...] = (
    SubmissionError,
    UsageError,
    DataMissingError,
    DataError,
    MetricError,
    SandboxError,
    OutputError,
    KaggleError,
)


def suggest(name: str, choices: Iterable[str], *, label: str, aliases: Mapping[str, str] | None = None) -> str:
    """The hint for a name that is none of `choices`: the nearest one, where one is near, and all if they are few.

    `aliases` maps other words for a choice to it, in lower case. `label` names the choices.

    >>> suggest("bublewrap", ["bubblewrap", "oci"], label="Backends")
    "Did you mean 'bubblewrap'? Backends: bubblewrap, oci"
    >>> suggest("docker", ["bubblewrap", "oci"], label="Backends", aliases={"docker": "oci"})
    "Did you mean 'oci'? Backends: bubblewrap, oci"
    """
    names = list(choices)
    words = {choice.lower(): choice for choice in names} | dict(aliases or {})
    near = difflib.get_close_matches(name.lower(), words, n=1, cutoff=0.6)
    known = f"{label}: {', '.join(names)}" if 0 < len(names) < MOST_LISTED else ""
    return " ".join(filter(None, [f"Did you mean {words[near[0]]!r}?" if near else "", known]))
