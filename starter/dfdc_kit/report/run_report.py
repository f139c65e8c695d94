"""The run report: everything that a run was and did, and enough to judge it again. Saved as `run.json`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import DataError, DataMissingError
from dfdc_kit.files import write_json
from dfdc_kit.profiles import Profile
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox.base import Enforcement, Outcome
from dfdc_kit.scoring.score import Score
from dfdc_kit.submission.validate import Validation

MUCH = 1.1  # a factor; below it, nobody needs to be told


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """What else went on, and how evenly the cores worked."""

    others_share: float | None  # of all cores' time, taken by other programs; 0 to 1; None: not known here
    load_before: float  # programs that ran or wanted to, on average over the minute before
    paces: int  # how often the same small piece of work was timed during the run
    pace_s: tuple[float, float, float] | None  # its CPU time: 5 %, 50 % and 95 % quantile; None: a run too short

    @property
    def quicker(self) -> float:
        """How many times as fast the run might have been on this machine undisturbed; 1 or more."""
        pace = self.pace_s[1] / self.pace_s[0] if self.pace_s else 1.0
        return pace / max(1 - (self.others_share or 0.0), 0.05)

    @property
    def slower(self) -> float:
        """How many times as long it might have taken, had all of it been as slow as its slowest moments; 1 or more."""
        return self.pace_s[2] / self.pace_s[1] if self.pace_s else 1.0


def cautions(noise: Noise) -> Iterator[str]:
    """What to say about the times of a run under `noise`; nothing if there is nothing to say."""
    if (noise.others_share or 0.0) > 1 - 1 / MUCH:
        yield f"other programs took {noise.others_share:.0%} of this machine meanwhile"
    if noise.pace_s is not None and noise.pace_s[2] / noise.pace_s[0] > MUCH:
        least, middle, most = noise.pace_s
        yield f"the same work took {least / middle:.2f} to {most / middle:.2f} times its usual CPU time"


FitVerdict = Literal["fits", "does not fit", "cannot tell"]
Trend = Literal["none", "possibly growing", "growing", "possibly falling", "falling"]
Basis = Literal["reads", "too few reads", "no reads"]

LEAK_BYTES = 16 << 10  # a video; below it, 10,000 videos add less than 160 MiB: an allocator's own noise


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of `rows` videos cost, taken apart. All times in seconds of wall time.

    A cost is the time from one completion (last close of a video) to the next, so overlapping readers, and a model that
    computes after it has closed the file, are counted once and in full.
    """

    rows: int  # videos that the run had
    completed: int  # videos opened and closed for good
    unfinished: int  # videos still open at the end
    readers: int  # videos open at the same time, at most
    wall_time_s: float
    startup_s: float  # until the first completion, less one typical cost, plus what the warm-up took too long
    warm_up_videos: int  # first videos that cost more than everything later, left out of `costs_s`
    finish_s: float  # from the last completion to the end
    backlog_s: float  # the part of `finish_s` that looks like work on all videos at once; 0: none
    costs_s: list[float]  # (n,) steady costs in the order of completion
    basis: Basis


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """The wall time of a run over `videos` videos: a 90 % interval and its middle, in seconds."""

    videos: int
    low_s: float
    median_s: float
    high_s: float | None  # None: the run shows too little for an upper bound
    trend: Trend = "none"


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One hidden test: does it finish in time, here and there."""

    name: str  # "public", "private"
    videos: int
    here: Projection
    here_verdict: FitVerdict
    hosted: Projection | None  # None: see TimeForecast.hosted_refused
    hosted_verdict: FitVerdict


class TimeForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Will it finish in time? Everything that the answer rests on, as far as the run's reads do not say it already."""

    limit_s: float
    profile: str
    cost_s: float | None  # mean cost of a video after the start-up
    cost_spread_s: tuple[float, float] | None  # 5 % and 95 % quantile of the cost of one video
    startup_s: float
    finish_s: float
    videos_measured: int
    busy_cores: float | None  # CPU time over wall time, of the whole process tree; None: not known
    cores: int  # of this machine
    outlooks: list[Outlook]
    hosted_ratio: tuple[float, float] | None  # seconds there for one second here, least and most
    hosted_refused: str  # why nothing is said about the hosted machine; empty if something is
    hosted_decoding_s: list[
        tuple[float, float]
    ]  # by outlook, for a refused model: decoding every frame there; may be empty
    constants: list[str]  # each constant with its source and date
    cautions: list[str]


class MemoryGrowth(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the process tree against the number of videos done, over the later half of a run. Bytes a video."""

    videos: int  # videos done at the last sample
    last_bytes: int
    slope_bytes: float
    low_bytes: float  # 90 % interval of the slope
    high_bytes: float

    @property
    def leaks(self) -> bool:
        """Whether memory grows beyond doubt, and so much that it matters: the whole interval lies above LEAK_BYTES."""
        return self.low_bytes > LEAK_BYTES


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


class LossBreakdownEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that are no predictions, by what they have in common."""

    what: str
    rows: int
    mean_loss: float
    share: float  # of the sum of all losses, 0 to 1


class LossBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """What defaults cost in the score."""

    mean_loss: float  # of all rows
    entries: list[LossBreakdownEntry]


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


class EnvironmentDiff(msgspec.Struct, frozen=True, kw_only=True):
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
    gaps: list[EnvironmentDiff]  # between this machine and the hosted one
    observation: Observation
    judgement: Judgement
    score: Score | None
    partial: PartialScore | None  # for a run that left a file but did not finish
    memory_growth: MemoryGrowth | None  # by video, over the later half of the run; None: too short to tell
    forecast: TimeForecast | None  # of the hidden tests; None: the run is not complete, or nothing limits its time
    ledger: LossBreakdown | None  # None: no score, or a metric without losses
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
    """Write `folder`/run.json, whole or not at all. Raises OutputError."""
    path = folder / FILE
    write_json(path, report)
    return path


def load(path: Path) -> RunReport:
    """Read a run.json, or the one in a run folder. Raises DataMissingError or DataError."""
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise DataMissingError(f"There is no run report {path}.", hint="A run leaves one in its folder below runs/.")
    content = path.read_bytes()
    try:
        version = msgspec.json.decode(content).get("schema_version")
        if version != SCHEMA_VERSION:
            raise DataError(f"{path} has schema version {version}; this program reads {SCHEMA_VERSION}.")
        return msgspec.json.decode(content, type=RunReport)
    except (msgspec.DecodeError, AttributeError) as error:
        raise DataError(f"{path} is not a run report: {error}") from error
