"""The verdicts on a run: Kaggle's outcomes, and our own for what is not the submission's fault."""

from enum import StrEnum
from typing import NamedTuple


class Meaning(NamedTuple):
    """What a verdict means, for the reference page and the command line."""

    kaggle: str  # what Kaggle would have shown; empty: nothing
    meaning: str
    exit_code: int


class Verdict(StrEnum):
    """The outcome of a run."""

    COMPLETE = "complete"
    TIMEOUT = "timeout"
    EXCEPTION = "exception"
    COMPUTE = "exceeded-compute"
    NO_CSV = "csv-not-found"
    SCORING_ERROR = "scoring-error"
    NOT_REPRODUCIBLE = "not-reproducible"
    HARNESS_ERROR = "harness-error"
    INTERRUPTED = "interrupted"


MEANINGS: dict[Verdict, Meaning] = {
    Verdict.COMPLETE: Meaning("Complete", "The program exited 0 and wrote a valid submission.", 0),
    Verdict.TIMEOUT: Meaning("Notebook Timeout", "The run was stopped at the wall-time limit.", 1),
    Verdict.EXCEPTION: Meaning(
        "Notebook Threw Exception", "The program exited with an error or was killed by a signal.", 1
    ),
    Verdict.COMPUTE: Meaning(
        "Notebook Exceeded Allowed Compute",
        "The run was stopped at the limit of memory, processes, output or temporary files.",
        1,
    ),
    Verdict.NO_CSV: Meaning(
        "Submission CSV Not Found", "The program exited 0 without writing the submission file to its working folder.", 1
    ),
    Verdict.SCORING_ERROR: Meaning(
        "Submission Scoring Error", "The submission file breaks a rule of the format, or the metric rejected it.", 1
    ),
    Verdict.NOT_REPRODUCIBLE: Meaning(
        "", "The program failed for want of something that this machine or sandbox lacks and the hosted one has.", 3
    ),
    Verdict.HARNESS_ERROR: Meaning(
        "Kaggle Error", "The metric or dfdc itself failed; this says nothing about the submission.", 5
    ),
    Verdict.INTERRUPTED: Meaning("", "The run was stopped by Ctrl-C or a signal to terminate; it is not scored.", 130),
}
