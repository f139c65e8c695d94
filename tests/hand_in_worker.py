"""Hands a submission in from a process of its own, which tests kill; and the teller that tests listen to."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import KitError
from dfdc_kit.handin.checks import Rehearsing
from dfdc_kit.handin.desk import Pace
from dfdc_kit.handin.hand_in import Means, hand_in
from dfdc_kit.handin.hosts.kaggle_host import KaggleHost
from dfdc_kit.handin.order import order
from dfdc_kit.handin.record import HandIn
from dfdc_kit.kaggle_client import connect
from dfdc_kit.kaggle_client.patience import Patience
from dfdc_kit.submission.code import read_code_submission


@dataclass
class Listener:
    """A teller that remembers, and answers every question with `answer`."""

    answer: bool = True
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    log: str = ""

    def say(self, text: str) -> None:
        self.said.append(text)

    def waiting(self, text: str) -> None:
        self.said.append(text)

    def printed(self, text: str) -> None:
        self.log += text

    def agreed(self, question: str, /) -> bool:
        self.asked.append(question)
        return self.answer


def hand_in_at_once(
    submission: Path, runs: Path, listener: Listener, *, again: bool = False, outage_s: float = 0.0, **options: str
) -> HandIn:
    """Hand in without any waiting, with the run that lies in `runs`, and no rehearsal."""
    wanted = order(read_code_submission(submission), challenges.load(), **options)
    patience = Patience(sleep=lambda _: None)
    means = Means(
        host=lambda: KaggleHost(connect(patience=patience, timeout_s=2)),
        teller=listener,
        pace=Pace(poll_s=0.001, outage_s=outage_s),
        warn=listener.said.append,
        run_now=_unwanted,
        rehearse_now=_unwanted,
    )
    return hand_in(wanted, runs, Rehearsing.WAIVE, means, again=again)


def work(environment: dict[str, str], submission: Path, runs: Path) -> None:
    """What a process does that will be killed, or will be one of several. Exit code 1 where it is refused."""
    os.environ.update(environment)
    try:
        hand_in_at_once(submission, runs, Listener())
    except KitError:
        sys.exit(1)


def _unwanted() -> NoReturn:
    raise AssertionError("there is a run already")
