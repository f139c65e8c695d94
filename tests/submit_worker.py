"""Submits from a separate process, which tests kill; and a SubmitUI that records its calls."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import KitError
from dfdc_kit.kaggle.client import connect
from dfdc_kit.kaggle.retry import RetryPolicy
from dfdc_kit.kaggle.submit.attempt import SubmitAttempt
from dfdc_kit.kaggle.submit.checks import RehearsalPolicy
from dfdc_kit.kaggle.submit.context import PollPolicy
from dfdc_kit.kaggle.submit.kaggle_host import KaggleHost
from dfdc_kit.kaggle.submit.request import submit_request
from dfdc_kit.kaggle.submit.submit import SubmitServices, submit_code
from dfdc_kit.submission.code import read_code_submission


@dataclass
class Listener:
    """A SubmitUI that records its calls, and answers every question with `answer`."""

    answer: bool = True
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    printed: str = ""

    def info(self, text: str) -> None:
        self.said.append(text)

    def status(self, text: str) -> None:
        self.said.append(text)

    def log(self, text: str) -> None:
        self.printed += text

    def confirm(self, question: str, /) -> bool:
        self.asked.append(question)
        return self.answer


def submit_at_once(
    submission: Path, runs: Path, listener: Listener, *, again: bool = False, outage_s: float = 0.0, **options: str
) -> SubmitAttempt:
    """Submit without waiting, with the run that is in `runs`, and without a rehearsal."""
    wanted = submit_request(read_code_submission(submission), challenges.load(), **options)
    retry = RetryPolicy(sleep=lambda _: None)
    services = SubmitServices(
        host=lambda: KaggleHost(connect(retry=retry, timeout_s=2)),
        ui=listener,
        poll=PollPolicy(poll_s=0.001, outage_s=outage_s),
        warn=listener.said.append,
        run_now=_unwanted,
        rehearse_now=_unwanted,
    )
    return submit_code(wanted, runs, RehearsalPolicy.SKIP, services, again=again)


def work(environment: dict[str, str], submission: Path, runs: Path) -> None:
    """The target of a separate process. Exit code 1 if the submission is refused."""
    os.environ.update(environment)
    try:
        submit_at_once(submission, runs, Listener())
    except KitError:
        sys.exit(1)


def _unwanted() -> NoReturn:
    raise AssertionError("there is a run already")
