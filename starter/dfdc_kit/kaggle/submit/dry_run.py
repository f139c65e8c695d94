"""What a submission would do, without network and without Kaggle's client: the same steps, on a host that records."""

import tempfile
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.kaggle.submit.attempt import open_attempt
from dfdc_kit.kaggle.submit.checks import (
    SKIPPED,
    CheckedCode,
    RehearsalPolicy,
    fresh_rehearsal,
    fresh_run,
    rehearsal_error,
)
from dfdc_kit.kaggle.submit.context import HostedRun, KaggleDataset, KaggleSubmission, PollPolicy, PushedKernel, Quota
from dfdc_kit.kaggle.submit.request import SubmitRequest, request_warnings
from dfdc_kit.kaggle.submit.submit import SubmitServices, earlier_attempts, new_attempt, run_steps

YOU = "YOUR-KAGGLE-NAME"


class RecordedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call that would be made: the client's method, the service behind it, the arguments."""

    method: str
    service: str
    arguments: dict[str, Any]


class DryRunHost:
    """A `Host` for --dry-run."""

    def __init__(self, challenge: Challenge, owner: str = "") -> None:
        self.calls: list[RecordedCall] = []
        self._owner, self._challenge = owner or YOU, challenge
        self._uploaded: set[str] = set()
        self._sent: list[KaggleSubmission] = []

    def owner(self) -> str:
        """The account's name, or a placeholder."""
        return self._owner

    def quota(self, competition: str) -> Quota:
        """None of the day is used."""
        self._note("competition_get_submission_limits", "GetSubmissionLimits", competition=competition)
        return Quota(today=0, total=0, left=2)

    def dataset(self, ref: str) -> KaggleDataset | None:
        """Missing until it is uploaded."""
        self._note("dataset_status", "GetDataset, GetDatasetStatus", dataset=ref)
        return KaggleDataset(version=1, status="ready") if ref in self._uploaded else None

    def create_dataset(self, ref: str, folder: Path) -> None:
        """Accepted."""
        self._note("dataset_create_new", "StartBlobUpload, PUT, CreateDataset", folder=folder.name, dir_mode="zip")
        self._uploaded.add(ref)

    def add_version(self, ref: str, folder: Path, notes: str) -> None:
        """Accepted. Not called in a dry run, which knows no older version."""
        arguments = {"dataset": ref, "folder": folder.name, "version_notes": notes, "dir_mode": "zip"}
        self._note("dataset_create_version", "StartBlobUpload, PUT, CreateDatasetVersion", **arguments)

    def push(self, kernel: str, folder: Path, limit_s: int | None) -> PushedKernel:
        """Version 1."""
        self._note("kernels_push", "SaveKernel", folder=folder.name, timeout=limit_s)
        return PushedKernel(version=1, url=f"https://www.kaggle.com/code/{kernel}", problems=[])

    def hosted_run(self, kernel: str, version: int) -> HostedRun:
        """Complete at once."""
        self._note("kernels_status", "GetKernelSessionStatus", kernel=f"{kernel}/{version}")
        return HostedRun(status="complete")

    def log(self, kernel: str, version: int) -> str:
        """Nothing was printed."""
        self._note("kernels_logs", "ListKernelSessionOutput", kernel=f"{kernel}/{version}")
        return ""

    def fetch_output(self, kernel: str, version: int, name: str, folder: Path) -> bool:
        """One row: what the hosted run would write is unknown."""
        self._note("kernels_output", "ListKernelSessionOutput, GET", kernel=f"{kernel}/{version}", file=name)
        columns = self._challenge.submission
        row = f"x{self._challenge.data.video_suffix},0.5"
        (folder / name).write_text(f"{columns.row_id},{columns.label}\n{row}\n", encoding="utf-8")
        return True

    def submit(self, competition: str, kernel: str, version: int, name: str, description: str) -> str:
        """Accepted."""
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
        """The one that was just made."""
        self._note("competition_submissions", "ListSubmissions", competition=competition)
        return self._sent

    def _note(self, method: str, service: str, **arguments: Any) -> None:
        self.calls.append(RecordedCall(method=method, service=service, arguments=arguments))


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission would do: the calls in order, and what they would send."""

    submission: str
    submission_sha256: str
    run: str  # the run of exactly this code that would count; empty: it would be run first
    rehearsal: str  # the same; also one that has failed
    refusal: str  # why it would be refused for its rehearsal; empty: it would not
    earlier: str  # the earlier attempt for exactly this code; empty: there is none
    warnings: list[str]
    calls: list[RecordedCall]
    kernel_metadata: dict[str, Any]
    dataset_metadata: dict[str, Any] | None
    dataset_files: list[str]


def dry_run(request: SubmitRequest, runs: Path, policy: RehearsalPolicy) -> DryRun:
    """What `submit_code` would do, by doing it in a temporary folder. Nothing is sent, run or kept."""
    host = DryRunHost(request.challenge)
    host.quota(request.challenge.slug)  # `submit_code` asks for it at the start, too
    sha256 = request.submission.sha256()
    run, rehearsal = fresh_run(runs, sha256), fresh_rehearsal(runs, sha256)
    refusal = rehearsal_error(rehearsal, request.submission, runs)
    if policy is RehearsalPolicy.SKIP or (policy is RehearsalPolicy.NOW and rehearsal is None):
        refusal = None
    services = SubmitServices(
        host=lambda: host,
        ui=_AgreeingUI(),
        poll=PollPolicy(poll_s=0),
        warn=lambda _: None,
        run_now=_must_not_run,
        rehearse_now=_must_not_run,
    )
    with tempfile.TemporaryDirectory(prefix="dfdc-") as folder:
        file = open_attempt(Path(folder), new_attempt(request, CheckedCode(run=run, rehearsal=SKIPPED)))
        run_steps(request, file, Path(folder), host, services)
    owner, bundle = host.owner(), request.bundle
    return DryRun(
        submission=request.submission.name,
        submission_sha256=sha256,
        run=run.run_id if run else "",
        rehearsal=rehearsal.rehearsal_id if rehearsal else "",
        refusal=f"{refusal} {refusal.hint}" if refusal else "",
        earlier=_earlier(request, runs),
        warnings=request_warnings(request),
        calls=host.calls,
        kernel_metadata=bundle.kernel_metadata(owner),
        dataset_metadata=bundle.dataset_metadata(owner) if bundle.files else None,
        dataset_files=[file.relative_to(bundle.folder).as_posix() for file in bundle.files],
    )


def _earlier(request: SubmitRequest, runs: Path) -> str:
    for file in earlier_attempts(request, runs):
        attempt = file.attempt
        if not attempt.outcome:
            done = f"{attempt.attempt_id} would be resumed, last completed step: {attempt.stage.value}"
            return f"{done}; only the calls after it are made"
        if attempt.used_quota:
            return f"{attempt.attempt_id} was submitted ({attempt.outcome}): without --again nothing is sent"
    return ""


def _must_not_run() -> NoReturn:
    raise AssertionError


class _AgreeingUI:
    """Shows nothing and agrees to everything: no submission is used."""

    def info(self, text: str) -> None: ...

    def status(self, text: str) -> None: ...

    def log(self, text: str) -> None: ...

    def confirm(self, _question: str) -> bool:
        return True
