"""Where a hand-in stands: one file, written whole after each step, so that any later call goes on from there."""

import secrets
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from dfdc_kit.errors import DataError, OutputError
from dfdc_kit.files import write_json

SCHEMA_VERSION = 1
FILE = "hand-in.json"


class Stage(StrEnum):
    """The last step that is done, in this order."""

    CHECKED = "checked"  # here, on this machine
    UPLOADED = "uploaded"  # the data set is there and can be attached
    PUSHED = "pushed"  # the notebook has a version that is to run
    RAN = "ran"  # that version has run, and its output is good
    SUBMITTED = "submitted"  # one of the day's submissions is spent
    SCORED = "scored"  # or refused by the scorer


ORDER = tuple(Stage)


class SubmitAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One hand-in of one code submission."""

    schema_version: int = SCHEMA_VERSION
    hand_in_id: str
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
    rehearsal: str  # its id, or "waived"
    owner: str = ""  # at Kaggle
    data_set: str = ""  # owner/slug
    data_set_sha256: str = ""  # of the files in it
    data_set_version: int | None = None  # that was current before the upload, then that of the upload
    kernel: str = ""  # owner/slug
    kernel_version: int | None = None
    kernel_url: str = ""
    hosted_status: str = ""  # of the notebook's run
    output_rows: int | None = None  # of the submission file that the hosted run left
    submissions_before: int | None = None  # ever, when the submission was sent; None: it was not
    reference: str = ""  # Kaggle's number of the submission
    official_score: float | None = None  # of the public leaderboard
    private_score: float | None = None
    over: str = ""  # how it ended; empty: it goes on

    @property
    def spent(self) -> bool:
        """Whether a submission of the day was spent on it, or may have been."""
        return bool(self.reference) or self.submissions_before is not None

    @property
    def marker(self) -> str:
        """What its description at Kaggle ends with: by it, a submission is found again."""
        return f"[{self.hand_in_id}]"

    def has(self, stage: Stage) -> bool:
        """Whether that step is done."""
        return ORDER.index(self.stage) >= ORDER.index(stage)


class AttemptFile:
    """A hand-in and the file that says where it stands."""

    def __init__(self, folder: Path, hand_in: SubmitAttempt) -> None:
        self.folder = folder
        self.hand_in = hand_in

    def note(self, **changes: Any) -> None:
        """Change the record and write it, whole or not at all. Raises OutputError."""
        self.hand_in = structs.replace(self.hand_in, **changes)
        write_json(self.folder / FILE, self.hand_in)


def new_id(name: str) -> tuple[str, str]:
    """An id for a new hand-in, and when it began. The random end keeps two machines apart."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{name}-hand-in-{secrets.token_hex(2)}", now.isoformat(timespec="seconds")


def open_attempt(runs: Path, hand_in: SubmitAttempt) -> AttemptFile:
    """Begin a hand-in: its folder below `runs`, and its record. Raises OutputError."""
    folder = runs / hand_in.hand_in_id
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(
            f"Cannot make a folder in {runs}: {error.strerror}.", hint="Choose a folder that can be written: --out DIR"
        ) from error
    book = AttemptFile(folder, hand_in)
    book.note()
    return book


def attempts(runs: Path) -> list[AttemptFile]:
    """Every hand-in below `runs`, newest first. Raises DataError."""
    return [AttemptFile(path.parent, _load(path)) for path in sorted(runs.glob(f"*/{FILE}"), reverse=True)]


def _load(path: Path) -> SubmitAttempt:
    content = path.read_bytes()
    hint = f"Look at it; to forget this hand-in, move its folder away: {path.parent}"
    try:
        version = msgspec.json.decode(content).get("schema_version")
        if version != SCHEMA_VERSION:
            raise DataError(f"{path} has schema version {version}; this program reads {SCHEMA_VERSION}.", hint=hint)
        return msgspec.json.decode(content, type=SubmitAttempt)
    except (msgspec.DecodeError, AttributeError) as error:
        raise DataError(f"{path} is no record of a hand-in: {error}", hint=hint) from error
