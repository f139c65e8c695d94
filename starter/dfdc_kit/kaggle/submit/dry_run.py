"""What a hand-in would do, without a network and without Kaggle's client: the same steps, with a host that notes."""

import tempfile
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.kaggle.submit.attempt import open_attempt
from dfdc_kit.kaggle.submit.checks import WAIVED, Ready, fresh_rehearsal, fresh_run
from dfdc_kit.kaggle.submit.context import DataSet, KaggleSubmission, PollPolicy, Pushed, Quota, Session
from dfdc_kit.kaggle.submit.request import SubmitRequest, warnings_of
from dfdc_kit.kaggle.submit.submit import SubmitServices, carry_out, earlier_attempts, new_attempt

YOU = "YOUR-KAGGLE-NAME"


class RecordedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call that would be made: the client's method, the service behind it, what it is given."""

    method: str
    service: str
    given: dict[str, Any]


class DryRunHost:
    """A `Host` for --dry-run."""

    def __init__(self, challenge: Challenge, owner: str = "") -> None:
        self.calls: list[RecordedCall] = []
        self._owner, self._challenge = owner or YOU, challenge
        self._uploaded: set[str] = set()
        self._sent: list[KaggleSubmission] = []

    def owner(self) -> str:
        """The account's name, or a word in its place."""
        return self._owner

    def quota(self, competition: str) -> Quota:
        """None of the day is used."""
        self._note("competition_get_submission_limits", "GetSubmissionLimits", competition=competition)
        return Quota(today=0, total=0, left=2)

    def data_set(self, ref: str) -> DataSet | None:
        """Not there before it is uploaded."""
        self._note("dataset_status", "GetDataset, GetDatasetStatus", dataset=ref)
        return DataSet(version=1, status="ready") if ref in self._uploaded else None

    def create_data_set(self, ref: str, folder: Path) -> None:
        """Taken."""
        self._note("dataset_create_new", "StartBlobUpload, PUT, CreateDataset", folder=folder.name, dir_mode="zip")
        self._uploaded.add(ref)

    def add_version(self, ref: str, folder: Path, notes: str) -> None:
        """Taken. A plan does not come here: it knows no older version."""
        given = {"dataset": ref, "folder": folder.name, "version_notes": notes, "dir_mode": "zip"}
        self._note("dataset_create_version", "StartBlobUpload, PUT, CreateDatasetVersion", **given)

    def push(self, kernel: str, folder: Path, limit_s: int | None) -> Pushed:
        """Version 1."""
        self._note("kernels_push", "SaveKernel", folder=folder.name, timeout=limit_s)
        return Pushed(version=1, url=f"https://www.kaggle.com/code/{kernel}", faults=[])

    def session(self, kernel: str, version: int) -> Session:
        """Complete at once."""
        self._note("kernels_status", "GetKernelSessionStatus", kernel=f"{kernel}/{version}")
        return Session(status="complete")

    def log(self, kernel: str, version: int) -> str:
        """Nothing was printed."""
        self._note("kernels_logs", "ListKernelSessionOutput", kernel=f"{kernel}/{version}")
        return ""

    def fetch_output(self, kernel: str, version: int, name: str, folder: Path) -> bool:
        """There, with one row: what the hosted run would write is not known here."""
        self._note("kernels_output", "ListKernelSessionOutput, GET", kernel=f"{kernel}/{version}", file=name)
        columns = self._challenge.submission
        row = f"x{self._challenge.data.video_suffix},0.5"
        (folder / name).write_text(f"{columns.row_id},{columns.label}\n{row}\n", encoding="utf-8")
        return True

    def submit(self, competition: str, kernel: str, version: int, name: str, description: str) -> str:
        """Taken."""
        self._note(
            "competition_submit_code",
            "CreateCodeSubmission",
            competition=competition,
            kernel=kernel,
            kernel_version=version,
            file_name=name,
            message=description,
        )
        self._sent = [KaggleSubmission(reference="1", description=description, status="complete")]
        return "1"

    def submissions(self, competition: str) -> list[KaggleSubmission]:
        """That one."""
        self._note("competition_submissions", "ListSubmissions", competition=competition)
        return self._sent

    def _note(self, method: str, service: str, **given: Any) -> None:
        self.calls.append(RecordedCall(method=method, service=service, given=given))


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a hand-in would do: the calls in their order, and what they would carry."""

    submission: str
    submission_sha256: str
    run: str  # of this very code, that it would rest on; empty: it would be run first
    rehearsal: str  # the same
    earlier: str  # what became of this very code before; empty: it was never handed in
    doubts: list[str]
    calls: list[RecordedCall]
    kernel_metadata: dict[str, Any]
    data_set_metadata: dict[str, Any] | None
    data_set_files: list[str]


def dry_run(wanted: SubmitRequest, runs: Path) -> DryRun:
    """What `hand_in` would do, by doing it in a folder that is gone afterwards. Nothing is sent, run or kept."""
    host = DryRunHost(wanted.challenge)
    host.quota(wanted.challenge.slug)  # as it is asked at the beginning, too
    sha256 = wanted.submission.sha256()
    run, rehearsal = fresh_run(runs, sha256), fresh_rehearsal(runs, sha256)
    means = SubmitServices(
        host=lambda: host,
        teller=_Nobody(),
        pace=PollPolicy(poll_s=0),
        warn=lambda _: None,
        run_now=_nothing_is_run,
        rehearse_now=_nothing_is_run,
    )
    with tempfile.TemporaryDirectory(prefix="dfdc-") as folder:
        book = open_attempt(Path(folder), new_attempt(wanted, Ready(run=run, rehearsal=WAIVED)))
        carry_out(wanted, book, Path(folder), host, means)
    owner, parcel = host.owner(), wanted.parcel
    return DryRun(
        submission=wanted.submission.name,
        submission_sha256=sha256,
        run=run.run_id if run else "",
        rehearsal=rehearsal.rehearsal_id if rehearsal else "",
        earlier=_earlier(wanted, runs),
        doubts=warnings_of(wanted),
        calls=host.calls,
        kernel_metadata=parcel.kernel_metadata(owner),
        data_set_metadata=parcel.data_set_metadata(owner) if parcel.files else None,
        data_set_files=[file.relative_to(parcel.folder).as_posix() for file in parcel.files],
    )


def _earlier(wanted: SubmitRequest, runs: Path) -> str:
    for book in earlier_attempts(wanted, runs):
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
