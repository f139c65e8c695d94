"""What the steps of a submission work with: Kaggle's calls as a protocol, the user interface, the polling."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import KaggleError
from dfdc_kit.kaggle.submit.attempt import AttemptFile
from dfdc_kit.kaggle.submit.bundle import KernelBundle

TEMPORARY = {"offline", "timeout", "server", "broken-connection", "too-many-requests", "proxy"}  # KaggleError.reason
Answer = TypeVar("Answer")


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """Submissions of the team, failed ones included."""

    today: int
    total: int
    left: int  # that can be made now


class KaggleDataset(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a dataset."""

    version: int
    status: str  # "ready" when it can be attached


class PushedKernel(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a notebook that was saved and will run."""

    version: int
    url: str
    problems: list[str]  # such as a dataset that cannot be attached


class HostedRun(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a hosted run."""

    status: str  # queued, running, complete, error, cancel_requested, cancel_acknowledged
    failure: str = ""


class KaggleSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """A submission as Kaggle lists it."""

    reference: str
    description: str
    status: str  # pending, complete, error
    public_score: float | None = None
    private_score: float | None = None
    error: str = ""


class Host(Protocol):
    """The calls of a submission. Each raises KitError if Kaggle cannot be reached or refuses."""

    def owner(self) -> str:
        """The account's name."""

    def quota(self, competition: str) -> Quota:
        """How many submissions are left."""

    def dataset(self, ref: str) -> KaggleDataset | None:
        """The dataset owner/slug; None if there is none."""

    def create_dataset(self, ref: str, folder: Path) -> None:
        """Upload the files of `folder` as a new private dataset."""

    def add_version(self, ref: str, folder: Path, notes: str) -> None:
        """Upload the files of `folder` as the next version of a dataset."""

    def push(self, kernel: str, folder: Path, limit_s: int | None) -> PushedKernel:
        """Save the program in `folder` as the next version of the notebook, which Kaggle then runs."""

    def hosted_run(self, kernel: str, version: int) -> HostedRun:
        """The state of that version's run."""

    def log(self, kernel: str, version: int) -> str:
        """What that run has printed so far, as Kaggle serves it."""

    def fetch_output(self, kernel: str, version: int, name: str, folder: Path) -> bool:
        """Fetch the run's output file `name` into `folder`; False if it has none."""

    def submit(self, competition: str, kernel: str, version: int, name: str, description: str) -> str:
        """Submit the output file `name` of that version; Kaggle's number of the submission. Never repeated."""

    def submissions(self, competition: str) -> list[KaggleSubmission]:
        """The newest submissions of the team, newest first."""


class SubmitUI(Protocol):
    """Shows the progress, and asks before a submission is used."""

    def info(self, text: str) -> None:
        """Something that was done or found."""

    def status(self, text: str) -> None:
        """What is being waited for; called again and again while it does not change."""

    def log(self, text: str) -> None:
        """What the hosted run has printed since the last call."""

    def confirm(self, question: str, /) -> bool:
        """Whether the user agrees."""


@dataclass(frozen=True, kw_only=True)
class PollPolicy:
    """How often Kaggle is asked, and how long an outage may last."""

    poll_s: float = 30.0
    outage_s: float = 3600.0
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class SubmitContext:
    """What every step works with."""

    host: Host
    file: AttemptFile
    challenge: Challenge
    bundle: KernelBundle
    ui: SubmitUI
    poll: PollPolicy
    runs: Path
    limit_s: int | None  # of the hosted run


def poll(context: SubmitContext, ask: Callable[[], Answer | None]) -> Answer:
    """The first answer of `ask` that is not None. A temporary outage is waited out, and shown."""
    outage_s = 0.0
    while True:
        try:
            answer = ask()
        except KaggleError as error:
            if error.reason not in TEMPORARY or outage_s >= context.poll.outage_s:
                raise
            outage_s += context.poll.poll_s
            context.ui.status(f"{error} Asking again")
        else:
            outage_s = 0.0
            if answer is not None:
                return answer
        context.poll.sleep(context.poll.poll_s)


class _LogLine(msgspec.Struct, frozen=True):
    data: str = ""


def log_text(raw: str) -> str:
    """What the run printed, as text; what is not JSON is returned as it is."""
    try:
        return "".join(line.data for line in msgspec.json.decode(raw, type=list[_LogLine]))
    except msgspec.DecodeError:
        return raw
