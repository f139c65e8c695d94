"""Rehearse a code submission: run it as the hidden rerun would, on inputs that broke reruns of the challenge.

Ordinary clips under new names and in another number; then with hard inputs among them; the same run again; and the
same videos under other names in shuffled order. Where a run fails, the input that causes it is found and left out.
"""

import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dfdc_kit import __version__
from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.errors import OutputError, UsageError
from dfdc_kit.harness.rehearsal import findings
from dfdc_kit.harness.rehearsal.hard_inputs import HARD_INPUTS, HardInput, make, readers_of
from dfdc_kit.harness.rehearsal.record import (
    ORDINARY,
    TOGETHER,
    Comparison,
    RehearsalFinding,
    RehearsalReport,
    RehearsalSeverity,
    save,
)
from dfdc_kit.harness.rehearsal.trial import (
    Trial,
    TrialInterruptedError,
    TrialRunner,
    TrialVideo,
    find_failing_input,
    renamed,
    repeated,
)
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.profiles import Profile
from dfdc_kit.report.history import Event, Kind, record_or_warn
from dfdc_kit.sandbox.base import SandboxBackend
from dfdc_kit.submission.code import CodeSubmission

MAX_CLIPS = 16  # of a large data set, unless --videos asks for more
REPEATED_CLIPS = 3  # so that the number of rows is one that the submission has not seen
CLIPS_AMONG_HARD = 8  # ordinary clips that the hard inputs are mixed with
CLIPS_IN_BISECTION = 2  # ordinary clips beside suspected inputs
FIRST_LIMIT_S = 60.0  # wall time for each ordinary clip, before the first run counts as hanging
SPARE_S, SPARE_FACTOR = 60.0, 10.0  # limit of later runs: SPARE_S + SPARE_FACTOR x what ordinary clips took
BISECTION_RUNS = 16  # in addition to two for each hard input
TOLERANCE = 1e-6  # sums in another order, nondeterministic GPU kernels; a larger difference is another prediction

ORDINARY_RUN, HARD_RUN, BISECTION = "ordinary clips", "hard inputs", "bisection"
REPEAT, SHUFFLED, OTHER_VIDEOS = "repeat", "shuffled", "other videos"
FIX_REPEAT = "Set every seed, sort what comes from a folder or a set, and wait for all threads before writing."
FIX_SHUFFLED = (
    "Match predictions to names, not positions; keep no state from one video to the next; do not seed by position."
)
FIX_OTHER_VIDEOS = "Predictions depend on which other videos are present: is that intended, or state that is kept?"


class RehearsalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to rehearse, on which clips, under which limits."""

    submission: CodeSubmission
    clips: list[Path]  # ordinary, decodable ones
    challenge: Challenge
    profile_name: str
    profile: Profile
    videos: int | None = None  # number of ordinary clips in the first run; they are repeated as often as needed
    limit_s: float | None = None  # wall time of each run; None: the profile's at first, then what was measured
    seed: int = 0
    inputs: tuple[HardInput, ...] = HARD_INPUTS


def rehearse(
    request: RehearsalRequest,
    backend: SandboxBackend,
    runs: Path,
    listener: RunListener,
    warn: Callable[[str], None],
    on_step: Callable[[str, int, float], None] = lambda *_: None,
) -> RehearsalReport:
    """Rehearse a code submission and add one row to the history of `runs`.

    Afterwards `runs`/<rehearsal id> contains `rehearsal.json`, the hard inputs and all runs. `on_step(what, videos,
    limit_s)` announces each run; `warn` is called if the history cannot be written. Raises KitError where data,
    machine or harness are at fault.
    """
    if request.videos is not None and request.videos < 1:
        raise UsageError(f"--videos {request.videos}: expected at least 1.", hint="For example: --videos 4000")
    started = datetime.now(UTC)
    folder = _new_folder(runs, f"{started:%Y%m%d-%H%M%S}-{request.submission.name}-rehearsal")
    (folder / "inputs").mkdir()
    made, left_out = make(folder / "inputs", request.clips, request.seed, request.inputs)
    by_code = {hard.code: hard for hard in request.inputs}
    runner = TrialRunner(_run_request(request), backend, folder, listener, on_step)
    rehearsal = Rehearsal(request, runner, {one.code: TrialVideo(*one, by_code[one.code]) for one in made})
    interrupted = False
    try:
        rehearsal.run()
    except TrialInterruptedError:
        interrupted = True
    found = rehearsal.findings
    general = [found[code] for code in found if code not in by_code]
    of_inputs = [found.get(one.code) or findings.untested(by_code[one.code]) for one in made]
    report = RehearsalReport(
        kit_version=__version__,
        rehearsal_id=folder.name,
        started=started.isoformat(timespec="seconds"),
        submission=request.submission.name,
        submission_folder=str(request.submission.folder),
        submission_sha256=request.submission.sha256(),
        profile_name=request.profile_name,
        backend=backend.name,
        seed=request.seed,
        outcome="interrupted" if interrupted else _outcome([*general, *of_inputs], rehearsal.comparisons),
        findings=[*general, *of_inputs],
        comparisons=rehearsal.comparisons,
        left_out=left_out,
        steps=runner.steps,
        opens_no_video=rehearsal.opens_no_video,
    )
    save(report, folder)
    record_or_warn(runs, _event(report), warn)
    return report


def _outcome(found: list[RehearsalFinding], comparisons: list[Comparison]) -> str:
    if RehearsalSeverity.ERROR in {one.severity for one in found} | {one.severity for one in comparisons}:
        return "failed"
    untested = any(one.code in (ORDINARY, TOGETHER) and one.severity is RehearsalSeverity.UNKNOWN for one in found)
    return "not-reproducible" if untested else "passed"


@dataclass
class Rehearsal:
    """The phases of a rehearsal, and what they find."""

    request: RehearsalRequest
    runner: TrialRunner
    hard: dict[str, TrialVideo]  # by code
    findings: dict[str, RehearsalFinding] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    opens_no_video: bool = False

    def run(self) -> None:
        """All phases, as far as the submission gets. Raises TrialInterruptedError."""
        ordinary = self._ordinary_phase()
        if not ordinary.valid:
            return  # hard inputs would show nothing more
        hard = self._hard_phase(self._limit_after(ordinary))
        if hard is None:
            return
        silent_value = findings.silent_fallback_value(hard)
        self._add(findings.of_ordinary(ordinary, silent_value))
        readers = readers_of(self.request.submission)
        for name, video in hard.videos.items():
            if video.hard is not None:
                self._add(findings.of_input(name, video.hard, hard, silent_value, readers))
        self.opens_no_video = ordinary.opens_no_video and hard.opens_no_video
        self._repeat_phase(ordinary, hard)

    def _ordinary_phase(self) -> Trial:
        clips = self.request.clips
        count = self.request.videos or min(len(clips), MAX_CLIPS) + REPEATED_CLIPS
        wall_s = self.request.profile.limits.wall_time_s
        limit_s = self.request.limit_s or min(FIRST_LIMIT_S * count, wall_s or math.inf)
        trial = self.runner.run(ORDINARY_RUN, renamed(repeated(clips, count), self._seed(1)), limit_s)
        self._add(findings.of_ordinary(trial))
        return trial

    def _limit_after(self, ordinary: Trial) -> float:
        """Wall time for the runs with hard inputs, in seconds: enough for them, short enough to notice a hang soon."""
        rows, wall_s = len(self.hard) + CLIPS_AMONG_HARD, self.request.profile.limits.wall_time_s
        taken_s = ordinary.observation.outcome.usage.wall_time_s
        measured_s = SPARE_S + SPARE_FACTOR * taken_s * rows / len(ordinary.videos)
        return self.request.limit_s or min(measured_s, wall_s or math.inf)

    def _hard_phase(self, limit_s: float) -> Trial | None:
        """A run that shows each input, without those on which a run fails; None if there is no such run."""
        left = dict(self.hard)
        max_runs = len(self.runner.steps) + 2 * len(left) + BISECTION_RUNS
        readers = readers_of(self.request.submission)

        def attempt(codes: Iterable[str], clips: int = CLIPS_IN_BISECTION, what: str = BISECTION) -> Trial | None:
            if len(self.runner.steps) >= max_runs:
                return None
            videos = [*repeated(self.request.clips, clips), *(left[code] for code in codes)]
            return self.runner.run(what, renamed(videos, self._seed(2)), limit_s)

        clips = min(len(self.request.clips), CLIPS_AMONG_HARD)
        while (trial := attempt(left, clips, HARD_RUN)) is not None:
            if trial.shows_each_input:
                return trial
            found = find_failing_input(trial, list(left), attempt)
            if found is None:
                self._add(findings.of_all_together(trial))
                return None
            self._add(findings.of_failing_input(left.pop(found.code), found.trial, readers))
        return None

    def _repeat_phase(self, ordinary: Trial, hard: Trial) -> None:
        """The same run again, then in shuffled order unless already the same run gave other predictions."""
        limit_s = self.runner.steps[-1].limit_s
        again = self.runner.run(REPEAT, hard.videos, limit_s)
        self.comparisons.append(_compare(REPEAT, hard, again, RehearsalSeverity.ERROR, FIX_REPEAT))
        if self.comparisons[-1].severity is RehearsalSeverity.ERROR:
            return
        other_names = renamed(list(hard.videos.values()), self._seed(3), shuffled=True)
        shuffled = self.runner.run(SHUFFLED, other_names, limit_s)
        self.comparisons.append(_compare(SHUFFLED, hard, shuffled, RehearsalSeverity.ERROR, FIX_SHUFFLED))
        warning = RehearsalSeverity.WARNING
        self.comparisons.append(_compare(OTHER_VIDEOS, ordinary, hard, warning, FIX_OTHER_VIDEOS, common_only=True))

    def _add(self, finding: RehearsalFinding) -> None:
        self.findings[finding.code] = finding

    def _seed(self, phase: int) -> int:
        """The same names in each run of a phase; other names in another phase."""
        return self.request.seed * 10 + phase


def _compare(
    what: str, one: Trial, other: Trial, severity: RehearsalSeverity, fix: str, *, common_only: bool = False
) -> Comparison:
    """Labels of the same content in two runs; a row in only one of them counts as a difference of 1."""
    first, second = one.by_key(), other.by_key()
    keys = sorted(first.keys() & second.keys() if common_only else first.keys() | second.keys())
    differences = {key: _difference(first.get(key), second.get(key)) for key in keys}
    where = max(differences, key=lambda key: differences[key], default="")
    largest = differences.get(where, 0.0)
    same = largest <= TOLERANCE
    return Comparison(
        what=what,
        severity=RehearsalSeverity.OK if same else severity,
        compared=len(keys),
        differing=sum(difference > 0 for difference in differences.values()),
        largest=largest,
        where=where if largest else "",
        fix="" if same else fix,
    )


def _difference(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 1.0
    if math.isnan(one) or math.isnan(other):
        return 0.0 if math.isnan(one) and math.isnan(other) else 1.0
    return abs(one - other)


def _run_request(request: RehearsalRequest) -> RunRequest:
    return RunRequest(
        submission=request.submission,
        dataset=Dataset(folder=request.clips[0].parent, videos=request.clips, sample_submission=None, solution=None),
        challenge=request.challenge,
        profile_name=request.profile_name,
        profile=request.profile,
    )


def _event(report: RehearsalReport) -> Event:
    """One row of the history for the whole rehearsal; its runs have none."""
    return Event(
        kind=Kind.REHEARSAL,
        name=report.rehearsal_id,
        happened=report.started,
        submission=report.submission,
        submission_sha256=report.submission_sha256,
        outcome=report.outcome,
        profile=report.profile_name,
        wall_time_s=sum(step.wall_time_s for step in report.steps),
        folder=report.rehearsal_id,
    )


def _new_folder(runs: Path, name: str) -> Path:
    """A new folder in `runs`. Raises OutputError."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        folder = runs / name
        if folder.exists():
            folder = runs / f"{name}-{secrets.token_hex(2)}"
        folder.mkdir()
    except OSError as error:
        raise OutputError(
            f"Cannot make a folder in {runs}: {error.strerror}.", hint="Choose a writable folder: --out DIR"
        ) from error
    return folder.resolve()
