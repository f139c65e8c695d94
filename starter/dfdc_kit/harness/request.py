"""What a run is asked for, and who is told how it goes."""

from typing import Protocol

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.profiles import Profile
from dfdc_kit.submission.code import CodeSubmission


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, on what, held to which limits."""

    submission: CodeSubmission
    dataset: Dataset
    challenge: Challenge
    profile_name: str
    profile: Profile
    stop_early: bool = False  # end the run as soon as it is clear that the hidden test would not end in time here


class RunListener(Protocol):
    """Who is told how a run goes, while it goes. `opened` and `output` come from a thread of their own."""

    def staged(self, done: int, total: int) -> None:
        """`done` of `total` videos are in place."""

    def opened(self, name: str, count: int, total: int) -> None:
        """`count` different videos have been opened; `name` is the newest."""

    def output(self, data: bytes) -> None:
        """A piece of what the submission prints, as it is."""


class NullListener:
    """An audience that does not listen."""

    def staged(self, done: int, total: int) -> None:
        """Nothing."""

    def opened(self, name: str, count: int, total: int) -> None:
        """Nothing."""

    def output(self, data: bytes) -> None:
        """Nothing."""
