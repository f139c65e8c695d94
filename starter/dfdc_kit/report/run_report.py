"""The run report, saved as `run.json`: what was run, what was observed, how it was judged; enough to judge it again."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.errors import DataError, DataMissingError
from dfdc_kit.files import write_json
from dfdc_kit.profiles import Profile
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox import BACKENDS
from dfdc_kit.sandbox.base import Enforcement, Outcome
from dfdc_kit.scoring.score import Score
from dfdc_kit.submission.validate import Validation

SCHEMA_VERSION = 4  # raise it with every change of a field: a function in UPGRADES and a saved report as test case
FILE, LOG, CSV, FALLBACKS, PAGE = "run.json", "log.txt", "submission.csv", "fallbacks.csv", "report.html"

LEAK_BYTES = 100 << 10  # per video; less adds up to under 1 GiB in 10,000 videos


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """How much other programs disturbed a run, and how evenly the cores worked."""

    other_programs_share: float | None  # of all cores' time; 0 to 1; None: not known here
    load_average_before: float  # runnable programs, mean over the minute before the run
    probes: int  # how often a small fixed piece of work was timed during the run
    probe_cpu_s: tuple[float, float, float] | None  # its CPU time: 5 %, 50 % and 95 % quantile; None: run too short
    load_timeline: list[tuple[float, float]] = []  # (seconds after the start, runnable threads)

    @property
    def speedup(self) -> float:
        """How many times as fast the run might have been on this machine undisturbed; 1 or more."""
        pace = self.probe_cpu_s[1] / self.probe_cpu_s[0] if self.probe_cpu_s else 1.0
        return pace / max(1 - (self.other_programs_share or 0.0), 0.05)

    @property
    def slowdown(self) -> float:
        """How many times as long the run might have taken at the speed of its slowest moments; 1 or more."""
        return self.probe_cpu_s[2] / self.probe_cpu_s[1] if self.probe_cpu_s else 1.0


FitVerdict = Literal["fits", "does not fit", "cannot tell"]
Trend = Literal["none", "possibly growing", "growing", "possibly falling", "falling"]
Basis = Literal["reads", "too few reads", "no reads"]


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run over `rows` videos cost, by phase. All times in seconds of wall time.

    A video's cost is the time from one completion (last close of a video) to the next. So overlapping readers, and a
    model that computes after it has closed the file, are counted once and in full.
    """

    rows: int  # videos in the run's input
    completed: int  # videos opened and closed for good
    unfinished: int  # videos still open at the end
    readers: int  # most videos open at the same time
    wall_time_s: float
    startup_s: float  # until the first completion, less one typical cost, plus the excess cost of the warm-up
    warm_up_videos: int  # first videos that cost more than all later ones; not in `costs_s`
    finish_s: float  # from the last completion to the end
    backlog_s: float  # the part of `finish_s` that looks like work on all videos at once; 0: none
    costs_s: list[float]  # (n,) steady costs in the order of completion
    sizes: list[float] = []  # (n,) frames times pixels of these videos; empty: not known
    loads: list[float] = []  # (n,) load of the machine meanwhile, relative to its median; empty: not known
    basis: Basis


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """The wall time of a run over `videos` videos: a 90 % interval and its median, in seconds."""

    videos: int
    low_s: float
    median_s: float
    high_s: float | None  # None: too few videos for an upper bound
    trend: Trend = "none"


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One hidden test: whether the submission finishes in time on this machine and on the hosted one."""

    name: str  # "public", "private"
    videos: int
    local: Projection
    local_verdict: FitVerdict
    hosted: Projection | None  # None: see TimeForecast.hosted_refused
    hosted_verdict: FitVerdict


class TimeForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the hidden tests finish in time, and what that estimate is based on besides the observed reads."""

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
    hosted_ratio: tuple[float, float] | None  # hosted seconds per local second, least and most
    hosted_refused: str  # why there is no estimate for the hosted machine; empty if there is one
    hosted_decoding_s: list[tuple[float, float]]  # by outlook: decoding every frame there, where nothing else is known
    size_ratio: float = 1.0  # size of a test video over that of the measured ones; 1: alike, or not known
    constants: list[str]  # each constant with its source and date
    cautions: list[str]


class MemoryGrowth(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the process tree per finished video, fitted over the later half of a run. Bytes per video."""

    videos: int  # videos finished at the last sample
    last_bytes: int
    slope_bytes: float
    low_bytes: float  # 90 % interval of the slope
    high_bytes: float

    @property
    def leaks(self) -> bool:
        """Whether the whole interval of the slope is above LEAK_BYTES."""
        return self.low_bytes > LEAK_BYTES


class VideoRead(msgspec.Struct, frozen=True, kw_only=True):
    """When a test video was read, observed from outside, in seconds after the start."""

    name: str
    opened_s: float
    closed_s: float | None  # None: still open at the end


class Fallbacks(msgspec.Struct, frozen=True, kw_only=True):
    """Videos for which the submission itself reports a fallback prediction (its `fallbacks.csv`)."""

    count: int = 0
    by_reason: dict[str, int] = {}
    first: list[str] = []  # the first few names
    caution: str = ""  # set if they are so many that the score says little about the model
    error: str = ""  # why the file could not be read, if so


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything observed of a run. Its verdict follows from this record, `Scoring` and the limits alone."""

    outcome: Outcome
    csv_status: str  # "collected", or why not: "missing", "not a regular file", "larger than N bytes"
    validation: Validation | None  # None: nothing was collected
    videos: int  # in the run's input
    reads: list[VideoRead]
    reads_caveat: str  # why reads may be missing here, if they may
    noise: Noise
    early_stop_reason: str  # why --stop-early ended the run; empty: it did not
    changed_input: list[str]  # input files that the run changed although they are read-only
    fallbacks: Fallbacks
    last_output: list[str]  # the last lines of the log, made printable
    withheld: list[str] = []  # names of training videos and metadata rows that were not mounted: they are scored
    staging_notes: list[str] = []  # what could not be provided as on Kaggle
    unmounted_inputs: list[str] = []  # paths below /kaggle/input that code or log name and that are not mounted
    hidden_inputs: list[str] = []  # such paths, and absolute ones below /kaggle, that this sandbox cannot show there
    missing_modules: list[str] = []  # of a failed run: modules that it imports and that are not installed here
    module_beside: str = ""  # such a module that is a file next to a submission of one file
    own_file: str = ""  # of a failed run: a file of the submission that it looked for in another folder
    package_versions: dict[str, str] = {}  # of a failed run: all installed distributions
    other_csv_files: list[str] = []  # files like a CSV in writable folders, where none was collected


class Scoring(msgspec.Struct, frozen=True, kw_only=True):
    """What the metric returned for a valid file: a score, or one of two errors; nothing if no solution is known."""

    score: Score | None = None
    rejection: str = ""  # why the metric refused the file: the submission's fault
    error: str = ""  # how the metric itself failed: never the submission's fault


class LossBreakdownEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that are fallback predictions, and what they cost."""

    what: str
    rows: int
    mean_loss: float
    share: float  # of the sum of all losses, 0 to 1


class LossBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """What fallback predictions cost in the score."""

    mean_loss: float  # of all rows
    entries: list[LossBreakdownEntry]


class PartialScore(msgspec.Struct, frozen=True, kw_only=True):
    """The score of the rows that an unfinished run had written, with `fill_value` in all others."""

    rows_written: int
    fill_value: float
    value: float
    displayed: str


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict, Kaggle's word for it, the reason, and what to do."""

    verdict: Verdict
    kaggle: str
    why: str
    fix: str


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that the run took place on."""

    system: str
    python: str
    cpu_cores: int
    memory_bytes: int
    packages: dict[str, str]
    unmet_requirements: list[str] = []  # packages of submission.toml that are missing or have another version


class MountedInput(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the submission attaches: a data set, the output of a notebook, a model."""

    slug: str
    kind: str
    folder: str  # on this machine; empty: not known, so it was not mounted
    size_bytes: int
    licence: str
    url: str


class EnvironmentDiff(msgspec.Struct, frozen=True, kw_only=True):
    """A difference between this machine and the hosted one, and which results it affects."""

    what: str
    local: str
    hosted: str
    affects: str


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a code submission."""

    schema_version: int = SCHEMA_VERSION
    kit_version: str
    run_id: str
    started: str  # ISO 8601, UTC
    submission: str
    submission_folder: str
    submission_sha256: str
    manifest_problems: list[str]  # of its external-data manifest
    data_folder: str
    input_sha256: str
    solution: str  # path of the solution; empty: none known
    rows: int
    challenge: Challenge
    metric_sha256: str
    profile_name: str
    profile: Profile
    backend: str
    enforcement: list[Enforcement]
    machine: Machine
    environment_diffs: list[EnvironmentDiff]
    inputs: list[MountedInput] = []
    observation: Observation
    judgement: Judgement
    score: Score | None
    metric_rejection: str  # why the metric refused a valid file, if it did
    metric_error: str  # how the metric itself failed, if it did
    partial_score: PartialScore | None  # of a run that left a file but did not finish
    memory_growth: MemoryGrowth | None  # None: run too short to tell
    forecast: TimeForecast | None  # of the hidden tests; None: the run is not complete, or its time is not limited
    loss_breakdown: LossBreakdown | None  # None: no score, or a metric without losses
    submission_csv_sha256: str  # empty: no CSV was collected
    constant_score: float | None = None  # of the same prediction, 0.5, in every row; None: no score
    message: str = ""  # of `dfdc run --message`

    @property
    def scoring(self) -> Scoring:
        """What the metric returned: the second input of the verdict, beside `observation`."""
        return Scoring(score=self.score, rejection=self.metric_rejection, error=self.metric_error)

    @property
    def seconds_per_video(self) -> float:
        """Wall time of the whole run, start-up included, over the number of rows, in seconds."""
        return self.observation.outcome.usage.wall_time_s / max(self.rows, 1)

    @property
    def unmet_requirements(self) -> list[str]:
        """Packages that the submission needs and that this machine lacks; nothing is known about a container's own."""
        return [] if getattr(BACKENDS.get(self.backend), "uses_image", False) else self.machine.unmet_requirements


def save(report: RunReport, folder: Path) -> Path:
    """Write `folder`/run.json in one step. Raises OutputError."""
    path = folder / FILE
    write_json(path, report)
    return path


def load(path: Path) -> RunReport:
    """Read a run.json, or the one in a run folder; reports of older schemas are upgraded.

    Raises DataMissingError or DataError.
    """
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise DataMissingError(f"Run report not found: {path}", hint="Name a run folder below runs/, or its run.json.")
    try:
        raw = msgspec.json.decode(path.read_bytes())
        version = raw.get("schema_version")
        while version in UPGRADES:
            UPGRADES[version](raw)
            version = raw["schema_version"]
        if version != SCHEMA_VERSION:
            known = ", ".join(map(str, (*UPGRADES, SCHEMA_VERSION)))
            raise DataError(
                f"{path} has schema version {version}; this version of dfdc reads {known}.",
                hint="Upgrade.",
                command="pip install --upgrade dfdc-starter-kit",
            )
        return msgspec.convert(raw, type=RunReport)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a run report: {error}") from error


def _upgrade_3(raw: dict[str, Any]) -> None:
    """Schema 3 (until 2026-11) to 4: plainer names, and what the metric returned apart from what was observed."""
    _rename(
        raw,
        truth="solution",
        manifest_faults="manifest_problems",
        gaps="environment_diffs",
        partial="partial_score",
        ledger="loss_breakdown",
    )
    seen = raw["observation"]
    raw["metric_rejection"], raw["metric_error"] = seen.pop("refused"), seen.pop("harness_fault")
    _rename(seen, csv="csv_status", hopeless="early_stop_reason")
    _rename(seen["fallbacks"], fault="error")
    _rename(
        seen["noise"],
        others_share="other_programs_share",
        load_before="load_average_before",
        paces="probes",
        pace_s="probe_cpu_s",
    )
    if seen["outcome"]["ending"] == "hopeless":
        seen["outcome"]["ending"] = "early-stop"
    for violation in (seen["validation"] or {}).get("violations", ()):
        violation.setdefault("fix", violation.get("mend", ""))
    _rename(raw["machine"], unmet="unmet_requirements")
    for diff in raw["environment_diffs"]:
        _rename(diff, here="local", there="hosted", weakens="affects")
    for outlook in (raw["forecast"] or {}).get("outlooks", ()):
        _rename(outlook, here="local", here_verdict="local_verdict")
    if raw["partial_score"]:
        _rename(raw["partial_score"], prior="fill_value")
    if raw["judgement"]["verdict"] == "harness-fault":
        raw["judgement"]["verdict"] = "harness-error"
    raw["schema_version"] = 4


UPGRADES = {3: _upgrade_3}  # schema version -> changes the decoded JSON in place to the next version


def _rename(fields: dict[str, Any], **names: str) -> None:
    for old, new in names.items():
        if old in fields:
            fields[new] = fields.pop(old)
