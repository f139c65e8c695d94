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


class SubmissionFault(KitError):
    """The code submission or its CSV cannot be used as it is."""

    code = "submission-fault"
    exit_code = 1


class UsageFault(KitError):
    """The command was given something that does not exist or does not fit, by the user's choice."""

    code = "usage-fault"
    exit_code = 2


class MissingData(KitError, FileNotFoundError):
    """A file or folder that must be there is not."""

    code = "missing-data"


class BadData(KitError, ValueError):
    """A file of the challenge or its host (solution, metadata, sample submission, settings) is broken."""

    code = "bad-data"


class MetricFault(KitError):
    """A metric file cannot be loaded, or failed by itself on good input: never the participant's fault."""

    code = "metric-fault"


class SandboxFault(KitError):
    """The sandbox could not do its work; says nothing about the submission."""

    code = "sandbox-fault"


class OutputFault(KitError, OSError):
    """A result could not be written: disk full, read-only folder, no permission."""

    code = "output-fault"
    exit_code = 4


class KaggleFault(KitError):
    """Kaggle, or the way to it, says no: credentials, rules, limits, network. `reason` is a word that code can test."""

    code = "kaggle-fault"
    exit_code = 5

    def __init__(self, message: str, *, hint: str = "", reason: str = "other") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


ERRORS: tuple[type[KitError], ...] = (
    SubmissionFault,
    UsageFault,
    MissingData,
    BadData,
    MetricFault,
    SandboxFault,
    OutputFault,
    KaggleFault,
)
