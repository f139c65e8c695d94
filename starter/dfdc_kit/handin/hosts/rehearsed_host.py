"""A host that talks to nobody: it writes down each call and answers as Kaggle would when all goes well."""

from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.handin.hosts.host import DataSet, Pushed, Quota, Sent, Session

YOU = "YOUR-KAGGLE-NAME"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call that would be made: the client's method, the service behind it, what it is given."""

    method: str
    service: str
    given: dict[str, Any]


class RehearsedHost:
    """A `Host` for --dry-run."""

    def __init__(self, challenge: Challenge, owner: str = "") -> None:
        self.calls: list[Call] = []
        self._owner, self._challenge = owner or YOU, challenge
        self._uploaded: set[str] = set()
        self._sent: list[Sent] = []

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
        self._sent = [Sent(reference="1", description=description, status="complete")]
        return "1"

    def submissions(self, competition: str) -> list[Sent]:
        """That one."""
        self._note("competition_submissions", "ListSubmissions", competition=competition)
        return self._sent

    def _note(self, method: str, service: str, **given: Any) -> None:
        self.calls.append(Call(method=method, service=service, given=given))
