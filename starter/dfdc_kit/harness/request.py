"""What a run is asked to do, and who follows its progress."""

from pathlib import Path
from typing import Protocol

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.profiles import Profile
from dfdc_kit.submission.code import CodeSubmission


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, on which data, under which limits."""

    submission: CodeSubmission
    dataset: Dataset
    challenge: Challenge
    profile_name: str
    profile: Profile
    stop_early: bool = False  # end the run as soon as it is clear that the hidden test would not finish in time here
    input_sha256: str = ""  # digest of the videos, where it is known already; empty: computed
    hidden: tuple[Path, ...] = ()  # what the submission may not read besides labels, runs and the home folder
    message: str = ""  # a note of the user's, kept in the report and the history


class RunListener(Protocol):
    """Follows a run. `opened` and `output` are called from a thread of their own."""

    def staged(self, done: int, total: int) -> None:
        """`done` of `total` videos have been staged."""

    def opened(self, name: str, count: int, total: int) -> None:
        """`count` of `total` videos have been opened; `name` is the newest."""

    def output(self, data: bytes) -> None:
        """A piece of the submission's standard output or standard error, unchanged."""


class NullListener:
    """Ignores everything."""

    def staged(self, done: int, total: int) -> None:
        """Nothing."""

    def opened(self, name: str, count: int, total: int) -> None:
        """Nothing."""

    def output(self, data: bytes) -> None:
        """Nothing."""
