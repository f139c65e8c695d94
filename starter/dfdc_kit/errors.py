"""The error tree: every foreseeable fault says what happened, what to do next, and by its exit code whose fault it is.

Exit codes: 0 good; 1 the submission is at fault; 2 wrong usage; 3 and up: the machine's or ours.
"""

from typing import ClassVar


class KitError(Exception):
    """A foreseeable fault. `str(error)` says what was seen and expected; `hint` is the next step to take."""

    code: ClassVar[str] = "kit-error"
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SubmissionError(KitError):
    """The code submission or its CSV cannot be used as it is."""

    code = "submission-error"
    exit_code = 1


class UsageError(KitError):
    """The command was given something that does not exist or does not fit, by the user's choice."""

    code = "usage-error"
    exit_code = 2


class DataMissingError(KitError, FileNotFoundError):
    """A file or folder that must be there is not."""

    code = "missing-data"


class DataError(KitError, ValueError):
    """A file of the challenge or its host (solution, metadata, sample submission, settings) is broken."""

    code = "invalid-data"


class MetricError(KitError):
    """A metric file cannot be loaded, or failed by itself on good input: never the participant's fault."""

    code = "metric-error"


class SandboxError(KitError):
    """The sandbox could not do its work; says nothing about the submission."""

    code = "sandbox-error"


class OutputError(KitError, OSError):
    """A result could not be written: disk full, read-only folder, no permission."""

    code = "output-error"
    exit_code = 4


class KaggleError(KitError):
    """Kaggle, or the way to it, says no: credentials, rules, limits, network. `reason` is a word that code can test."""

    code = "kaggle-error"
    exit_code = 5

    def __init__(self, message: str, *, hint: str = "", reason: str = "other") -> None:
        super().__init__(message, hint=hint)
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
