"""What the steps of a hand-in work with: whom they talk to, whom they tell, and how long they wait."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import KaggleFault
from dfdc_kit.handin.hosts.host import Host
from dfdc_kit.handin.parcel import Parcel
from dfdc_kit.handin.record import Book

PASSING = {"offline", "timeout", "server", "broken-connection", "too-many-requests", "proxy"}  # faults that pass
Answer = TypeVar("Answer")


class Teller(Protocol):
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
class Pace:
    """How often Kaggle is asked, and for how long it may be out of reach."""

    poll_s: float = 30.0
    outage_s: float = 3600.0
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What every step works with."""

    host: Host
    book: Book
    challenge: Challenge
    parcel: Parcel
    teller: Teller
    pace: Pace
    runs: Path
    limit_s: int | None  # of the hosted run


def until(desk: Desk, ask: Callable[[], Answer | None]) -> Answer:
    """The first answer that is one, asked for again and again. An outage that passes is sat out, aloud."""
    out_s = 0.0
    while True:
        try:
            answer = ask()
        except KaggleFault as fault:
            if fault.reason not in PASSING or out_s >= desk.pace.outage_s:
                raise
            out_s += desk.pace.poll_s
            desk.teller.waiting(f"{fault} Asking again")
        else:
            out_s = 0.0
            if answer is not None:
                return answer
        desk.pace.sleep(desk.pace.poll_s)
