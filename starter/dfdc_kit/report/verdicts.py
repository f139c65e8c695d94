"""The verdicts on a run: Kaggle's own outcomes, and ours for what is not the submission's doing."""

from enum import StrEnum
from typing import NamedTuple


class Meaning(NamedTuple):
    """What a verdict says, in a reference page and after a run."""

    kaggle: str  # what Kaggle would have shown
    meaning: str
    exit_code: int


class Verdict(StrEnum):
    """How a run is judged."""

    COMPLETE = "complete"
    TIMEOUT = "timeout"
    EXCEPTION = "exception"
    COMPUTE = "exceeded-compute"
    NO_CSV = "csv-not-found"
    SCORING_ERROR = "scoring-error"
    HARNESS_FAULT = "harness-fault"
    INTERRUPTED = "interrupted"


MEANINGS: dict[Verdict, Meaning] = {
    Verdict.COMPLETE: Meaning("Complete", "The run ended by itself and left a valid submission.", 0),
    Verdict.TIMEOUT: Meaning("Notebook Timeout", "The run was stopped at the wall-time limit.", 1),
    Verdict.EXCEPTION: Meaning("Notebook Threw Exception", "The program ended with an error or by a signal.", 1),
    Verdict.COMPUTE: Meaning(
        "Notebook Exceeded Allowed Compute", "The run was stopped at the limit of memory, processes or output.", 1
    ),
    Verdict.NO_CSV: Meaning(
        "Submission CSV Not Found", "The program ended well, but left no submission.csv in its working folder.", 1
    ),
    Verdict.SCORING_ERROR: Meaning("Submission Scoring Error", "submission.csv breaks a rule of the format.", 1),
    Verdict.HARNESS_FAULT: Meaning("Kaggle Error", "The harness failed; this says nothing about the submission.", 5),
    Verdict.INTERRUPTED: Meaning("", "The run was stopped from outside: Ctrl-C, or a signal to end.", 130),
}
