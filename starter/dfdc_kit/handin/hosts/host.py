"""What a hand-in asks of Kaggle, as a protocol: the real one, and one that only writes down what it is asked."""

from pathlib import Path
from typing import Protocol

import msgspec


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


class Sent(msgspec.Struct, frozen=True, kw_only=True):
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

    def submissions(self, competition: str) -> list[Sent]:
        """The newest submissions of the team, newest first."""
