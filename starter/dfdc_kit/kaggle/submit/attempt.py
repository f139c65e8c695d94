"""The record of a submission attempt: one file, rewritten after each step, so that any later call can resume."""

import secrets
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from dfdc_kit.errors import DataError, OutputError
from dfdc_kit.files import write_json

SCHEMA_VERSION = 2
FILE, FILE_1 = "attempt.json", "hand-in.json"  # of schema version 2, and of 1
RENAMED_1 = {  # fields of schema version 1
    "hand_in_id": "attempt_id",
    "over": "outcome",
    "data_set": "dataset",
    "data_set_sha256": "dataset_sha256",
    "data_set_version": "dataset_version",
}


class Stage(StrEnum):
    """The last completed step, in this order."""

    CHECKED = "checked"  # on this machine
    UPLOADED = "uploaded"  # the dataset can be attached
    PUSHED = "pushed"  # the notebook has a version that will run
    RAN = "ran"  # that version has run, and its output is valid
    SUBMITTED = "submitted"  # one of the day's submissions is used
    SCORED = "scored"  # or rejected by the scorer


STAGES = tuple(Stage)


class SubmitAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to submit one code submission."""

    schema_version: int = SCHEMA_VERSION
    attempt_id: str
    started: str  # ISO 8601, UTC
    submission: str
    submission_sha256: str
    competition: str
    slug: str
    accelerator: str
    message: str
    profile_name: str
    stage: Stage = Stage.CHECKED
    local_run: str = ""  # folder beside this one
    local_score: float | None = None
    local_rows: int | None = None
    local_data: str = ""
    rehearsal: str  # its id, or "skipped"
    untested_here: str = ""  # why no complete local run was required
    owner: str = ""  # at Kaggle
    dataset: str = ""  # owner/slug
    dataset_sha256: str = ""  # of the files in it
    dataset_version: int | None = None  # that was current before the upload, then that of the upload
    kernel: str = ""  # owner/slug
    kernel_version: int | None = None
    kernel_url: str = ""
    hosted_status: str = ""  # of the notebook's run
    output_rows: int | None = None  # of the submission file that the hosted run left
    submissions_before: int | None = None  # ever, when the submission was sent; None: it was not
    reference: str = ""  # Kaggle's number of the submission
    official_score: float | None = None  # on the public leaderboard
    private_score: float | None = None
    outcome: str = ""  # how it ended; empty: it has not

    @property
    def used_quota(self) -> bool:
        """Whether one of the day's submissions was used for it, or may have been."""
        return bool(self.reference) or self.submissions_before is not None

    @property
    def marker(self) -> str:
        """The end of its description at Kaggle, by which a submission is found again."""
        return f"[{self.attempt_id}]"

    def has(self, stage: Stage) -> bool:
        """Whether that step is completed."""
        return STAGES.index(self.stage) >= STAGES.index(stage)


class AttemptFile:
    """An attempt and the file that records it."""

    def __init__(self, folder: Path, attempt: SubmitAttempt) -> None:
        self.folder = folder
        self.attempt = attempt

    def update(self, **changes: Any) -> None:
        """Change the record and write it, completely or not at all. Raises OutputError."""
        self.attempt = structs.replace(self.attempt, **changes)
        write_json(self.folder / FILE, self.attempt)


def new_id(name: str) -> tuple[str, str]:
    """An id for a new attempt, and its start time. The random suffix keeps two machines apart."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{name}-submit-{secrets.token_hex(2)}", now.isoformat(timespec="seconds")


def open_attempt(runs: Path, attempt: SubmitAttempt) -> AttemptFile:
    """Make the attempt's folder below `runs`, and its record. Raises OutputError."""
    folder = runs / attempt.attempt_id
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        message = f"Cannot make a folder in {runs}: {error.strerror}."
        raise OutputError(message, hint="Choose a writable folder: --out DIR") from error
    file = AttemptFile(folder, attempt)
    file.update()
    return file


def attempts(runs: Path) -> list[AttemptFile]:
    """All attempts below `runs`, newest first. Raises DataError."""
    paths = {path.parent: path for name in (FILE_1, FILE) for path in runs.glob(f"*/{name}")}
    return [AttemptFile(folder, _load(path)) for folder, path in sorted(paths.items(), reverse=True)]


def _load(path: Path) -> SubmitAttempt:
    hint = f"Inspect it; to forget this attempt, move its folder away: {path.parent}"
    try:
        record = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        version = record.get("schema_version")
        if version == 1:
            record = {RENAMED_1.get(name, name): value for name, value in record.items()}
        elif version != SCHEMA_VERSION:
            message = f"{path} has schema version {version}; this program reads 1 and {SCHEMA_VERSION}."
            raise DataError(message, hint=hint)
        return msgspec.convert(record | {"schema_version": SCHEMA_VERSION}, SubmitAttempt)
    except msgspec.DecodeError as error:  # ValidationError is one, too
        raise DataError(f"{path} is not a valid record of a submission attempt: {error}", hint=hint) from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.", hint=hint) from error
