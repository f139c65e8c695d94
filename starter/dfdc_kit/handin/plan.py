"""What a hand-in would do, without a network and without Kaggle's client: the same steps, with a host that notes."""

import tempfile
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from dfdc_kit.handin.checks import WAIVED, Ready, fresh_rehearsal, fresh_run
from dfdc_kit.handin.desk import Pace
from dfdc_kit.handin.hand_in import Means, carry_out, earlier, new_hand_in
from dfdc_kit.handin.hosts.rehearsed_host import Call, RehearsedHost
from dfdc_kit.handin.order import Order, doubts
from dfdc_kit.handin.record import open_book


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a hand-in would do: the calls in their order, and what they would carry."""

    submission: str
    submission_sha256: str
    run: str  # of this very code, that it would rest on; empty: it would be run first
    rehearsal: str  # the same
    earlier: str  # what became of this very code before; empty: it was never handed in
    doubts: list[str]
    calls: list[Call]
    kernel_metadata: dict[str, Any]
    data_set_metadata: dict[str, Any] | None
    data_set_files: list[str]


def plan(wanted: Order, runs: Path) -> Plan:
    """What `hand_in` would do, by doing it in a folder that is gone afterwards. Nothing is sent, run or kept."""
    host = RehearsedHost(wanted.challenge)
    host.quota(wanted.challenge.slug)  # as it is asked at the beginning, too
    sha256 = wanted.submission.sha256()
    run, rehearsal = fresh_run(runs, sha256), fresh_rehearsal(runs, sha256)
    means = Means(
        host=lambda: host,
        teller=_Nobody(),
        pace=Pace(poll_s=0),
        warn=lambda _: None,
        run_now=_nothing_is_run,
        rehearse_now=_nothing_is_run,
    )
    with tempfile.TemporaryDirectory(prefix="dfdc-") as folder:
        book = open_book(Path(folder), new_hand_in(wanted, Ready(run=run, rehearsal=WAIVED)))
        carry_out(wanted, book, Path(folder), host, means)
    owner, parcel = host.owner(), wanted.parcel
    return Plan(
        submission=wanted.submission.name,
        submission_sha256=sha256,
        run=run.run_id if run else "",
        rehearsal=rehearsal.rehearsal_id if rehearsal else "",
        earlier=_earlier(wanted, runs),
        doubts=doubts(wanted),
        calls=host.calls,
        kernel_metadata=parcel.kernel_metadata(owner),
        data_set_metadata=parcel.data_set_metadata(owner) if parcel.files else None,
        data_set_files=[file.relative_to(parcel.folder).as_posix() for file in parcel.files],
    )


def _earlier(wanted: Order, runs: Path) -> str:
    for book in earlier(wanted, runs):
        seen = book.hand_in
        if not seen.over:
            return f"{seen.hand_in_id} goes on, last step done: {seen.stage.value}; only the calls after it are made"
        if seen.spent:
            return f"{seen.hand_in_id} was handed in ({seen.over}): without --again nothing is sent"
    return ""


def _nothing_is_run() -> NoReturn:
    raise AssertionError


class _Nobody:
    """A teller without a person, who agrees to everything: nothing is spent."""

    def say(self, text: str) -> None: ...

    def waiting(self, text: str) -> None: ...

    def printed(self, text: str) -> None: ...

    def agreed(self, _question: str) -> bool:
        return True
