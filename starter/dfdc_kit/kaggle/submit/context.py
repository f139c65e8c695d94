"""What the steps of a hand-in work with: whom they talk to, whom they tell, and how long they wait."""

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


class Piece(msgspec.Struct, frozen=True):
    """Some output of the run; other fields are not needed."""

    data: str = ""


def log_text(raw: str) -> str:
    """What the run printed, as text; what is no JSON is passed on as it is."""
    try:
        return "".join(piece.data for piece in msgspec.json.decode(raw, type=list[Piece]))
    except msgspec.DecodeError:
        return raw


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """Submissions of the team, failed ones included."""

    today: int
    total: int
    left: int  # that can be made now


class DataSet(msgspec.Struct, frozen=True, kw_only=True):
    """A data set's newest version."""

    version: int
    status: str  # "ready" when it can be attached


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a notebook that was saved and will run."""

    version: int
    url: str
    faults: list[str]  # what Kaggle had against it, such as a data set it could not attach


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A hosted run."""

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
    """The calls of a hand-in. Each raises KitError with a sentence where Kaggle cannot be asked or says no."""

    def owner(self) -> str:
        """The account's name."""

    def quota(self, competition: str) -> Quota:
        """How many submissions are left."""

    def data_set(self, ref: str) -> DataSet | None:
        """The data set owner/slug; None if there is none."""

    def create_data_set(self, ref: str, folder: Path) -> None:
        """Upload the files of `folder` as a new private data set."""

    def add_version(self, ref: str, folder: Path, notes: str) -> None:
        """Upload the files of `folder` as the next version of a data set."""

    def push(self, kernel: str, folder: Path, limit_s: int | None) -> Pushed:
        """Save the program in `folder` as the next version of the notebook, and have it run."""

    def session(self, kernel: str, version: int) -> Session:
        """How the run of that version stands."""

    def log(self, kernel: str, version: int) -> str:
        """What that run has printed so far."""

    def fetch_output(self, kernel: str, version: int, name: str, folder: Path) -> bool:
        """Fetch the file `name` that the run left into `folder`; False if it left none."""

    def submit(self, competition: str, kernel: str, version: int, name: str, description: str) -> str:
        """Spend a submission on the file `name` of that version; Kaggle's number of it. Never repeated by itself."""

    def submissions(self, competition: str) -> list[KaggleSubmission]:
        """The newest submissions of the team, newest first."""


PASSING = {"offline", "timeout", "server", "broken-connection", "too-many-requests", "proxy"}  # faults that pass
Answer = TypeVar("Answer")


class SubmitUI(Protocol):
    """Who is told how a hand-in goes, and asked before a submission is spent."""

    def say(self, text: str) -> None:
        """One sentence about what was done or found."""

    def waiting(self, text: str) -> None:
        """What is being waited for; said again and again while it does not change."""

    def printed(self, text: str) -> None:
        """What the hosted run has printed since the last time."""

    def agreed(self, question: str, /) -> bool:
        """Whether the person agrees."""


@dataclass(frozen=True, kw_only=True)
class PollPolicy:
    """How often Kaggle is asked, and for how long it may be out of reach."""

    poll_s: float = 30.0
    outage_s: float = 3600.0
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class SubmitContext:
    """What every step works with."""

    host: Host
    book: AttemptFile
    challenge: Challenge
    parcel: KernelBundle
    teller: SubmitUI
    pace: PollPolicy
    runs: Path
    limit_s: int | None  # of the hosted run


def until(desk: SubmitContext, ask: Callable[[], Answer | None]) -> Answer:
    """The first answer that is one, asked for again and again. An outage that passes is sat out, aloud."""
    out_s = 0.0
    while True:
        try:
            answer = ask()
        except KaggleError as fault:
            if fault.reason not in PASSING or out_s >= desk.pace.outage_s:
                raise
            out_s += desk.pace.poll_s
            desk.teller.waiting(f"{fault} Asking again")
        else:
            out_s = 0.0
            if answer is not None:
                return answer
        desk.pace.sleep(desk.pace.poll_s)
