"""The run report: everything that a run was and did, and enough to judge it again. Saved as `run.json`."""

from pathlib import Path

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import BadData, MissingData
from dfdc_kit.profiles import Profile
from dfdc_kit.records import write_json
from dfdc_kit.report.forecast import MemoryGrowth, TimeForecast
from dfdc_kit.report.noise import Noise
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox.base import Enforcement, Outcome
from dfdc_kit.scoring.score import Score
from dfdc_kit.submission.rules import Validation

SCHEMA_VERSION = 3
FILE, LOG, CSV, FALLBACKS, PAGE = "run.json", "log.txt", "submission.csv", "fallbacks.csv", "report.html"


class VideoRead(msgspec.Struct, frozen=True, kw_only=True):
    """When a test video was read, seen from outside, in seconds after the start."""

    name: str
    opened_s: float
    closed_s: float | None  # None: it was still open at the end


class Fallbacks(msgspec.Struct, frozen=True, kw_only=True):
    """Videos for which the submission itself says that it used a stated prior instead of a prediction."""

    count: int = 0
    by_reason: dict[str, int] = {}
    first: list[str] = []  # the first few names
    caution: str = ""  # if they are so many that the score is not the model's
    fault: str = ""  # why the side file could not be read, if so


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen of a run. The verdict is decided from this record alone."""

    outcome: Outcome
    csv: str  # "collected", or why not: "missing", "not a regular file", "larger than N bytes"
    validation: Validation | None  # None: there was nothing to validate
    refused: str  # what the metric itself had against a valid file, if anything
    harness_fault: str  # what we did wrong, if anything: it is never the submission's fault
    videos: int  # that were there to be read
    reads: list[VideoRead]
    reads_caveat: str  # why reads may be missing here, if they may
    noise: Noise
    hopeless: str  # why it was stopped early: it could not have ended in time; empty: it was not
    changed_input: list[str]  # input files that the run changed in spite of everything
    fallbacks: Fallbacks
    last_output: list[str]  # the last lines of the log, made printable


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that are no predictions, by what they have in common."""

    what: str
    rows: int
    mean_loss: float
    share: float  # of the sum of all losses, 0 to 1


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What defaults cost in the score."""

    mean_loss: float  # of all rows
    entries: list[LedgerEntry]


class PartialScore(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows that were written would have scored, with a prior in all others."""

    rows_written: int
    prior: float
    value: float
    displayed: str


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict, in Kaggle's words, in ours, and with the way out."""

    verdict: Verdict
    kaggle: str
    why: str
    fix: str


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the run took place."""

    system: str
    python: str
    cpu_cores: int
    memory_bytes: int
    packages: dict[str, str]
    unmet: list[str] = []  # packages that the submission needs, and that are not installed or have another version


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is otherwise on the hosted machine, and the statements that it weakens."""

    what: str
    here: str
    there: str
    weakens: str


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a code submission."""

    schema_version: int = SCHEMA_VERSION
    kit_version: str
    run_id: str
    started: str  # ISO 8601, UTC
    submission: str
    submission_folder: str
    submission_sha256: str
    manifest_faults: list[str]  # what its external-data manifest lacks
    data_folder: str
    input_sha256: str
    truth: str  # path of the solution; empty: none at hand
    rows: int
    challenge: Challenge
    metric_sha256: str
    profile_name: str
    profile: Profile
    backend: str
    enforcement: list[Enforcement]
    machine: Machine
    gaps: list[Gap]  # between this machine and the hosted one
    observation: Observation
    judgement: Judgement
    score: Score | None
    partial: PartialScore | None  # for a run that left a file but did not finish
    memory_growth: MemoryGrowth | None  # by video, over the later half of the run; None: too short to tell
    forecast: TimeForecast | None  # of the hidden tests; None: the run is not complete, or nothing limits its time
    ledger: Ledger | None  # None: no score, or a metric without losses
    submission_csv_sha256: str  # empty: there is none

    @property
    def seconds_per_video(self) -> float:
        """Wall time of the whole run, start-up included, over the number of rows, in seconds."""
        return self.observation.outcome.usage.wall_time_s / max(self.rows, 1)

    @property
    def unmet(self) -> list[str]:
        """Packages that the submission needs and did not find so; of a container's own nothing is known."""
        return [] if self.backend == "oci" else self.machine.unmet


def save(report: RunReport, folder: Path) -> Path:
    """Write `folder`/run.json, whole or not at all. Raises OutputFault."""
    path = folder / FILE
    write_json(path, report)
    return path


def load(path: Path) -> RunReport:
    """Read a run.json, or the one in a run folder. Raises MissingData or BadData."""
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise MissingData(f"There is no run report {path}.", hint="A run leaves one in its folder below runs/.")
    content = path.read_bytes()
    try:
        version = msgspec.json.decode(content).get("schema_version")
        if version != SCHEMA_VERSION:
            raise BadData(f"{path} has schema version {version}; this program reads {SCHEMA_VERSION}.")
        return msgspec.json.decode(content, type=RunReport)
    except (msgspec.DecodeError, AttributeError) as error:
        raise BadData(f"{path} is not a run report: {error}") from error
