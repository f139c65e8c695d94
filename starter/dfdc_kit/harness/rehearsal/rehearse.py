"""The dress rehearsal: a code submission as the hidden rerun would run it, on inputs that broke reruns of others.

Ordinary clips under other names and in another number; then with hard inputs among them; the same again; and with other
names in another order. Where a whole run fails, the input to blame is found and left out, so that each has its finding.
"""

import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

import msgspec

from dfdc_kit import __version__
from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.errors import OutputError, UsageError
from dfdc_kit.harness.rehearsal import bisect, findings
from dfdc_kit.harness.rehearsal.hard_inputs import HARD_INPUTS, HardInput, make
from dfdc_kit.harness.rehearsal.record import ORDINARY, Comparison, RehearsalFinding, RehearsalReport, Severity, save
from dfdc_kit.harness.rehearsal.trial import Interrupted, Trial, TrialRunner, Video, named
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.profiles import Profile
from dfdc_kit.sandbox.base import SandboxBackend
from dfdc_kit.submission.code import CodeSubmission

MOST_CLIPS = 16  # of a large data set, where --videos does not ask for more
MORE = 3  # ordinary clips repeated, so that their number is none that a submission has seen
AMONG_HARD = 8  # ordinary clips that the hard inputs are mixed with
BESIDE_ONE = 2  # ordinary clips beside suspects
SLOWEST_S = 60.0  # of wall time an ordinary clip, before the first run counts as hanging
SPARE_S, SPARE_TIMES = (
    60.0,
    10.0,
)  # what the runs after it may take: SPARE_S, and so many times what ordinary clips took
EXTRA_RUNS = 16  # to find culprits, beside two for each hard input
ROUNDING = 1e-6  # sums in another order, a GPU's own freedom; more is another prediction

PLAIN, HARD, AGAIN, SHUFFLED, SUSPECTS = "ordinary clips", "hard inputs", "the same again", "other order", "suspects"
FIX_AGAIN = "Fix every seed, sort what comes from a folder or a set, and wait for all threads before writing."
FIX_ORDER = (
    "Match predictions to names, never to positions; keep no state from one video to the next; seed by nothing that "
    "depends on the place in the list."
)
FIX_COMPANY = "Its predictions depend on which other videos are there: on purpose, or through state that is kept?"


class RehearsalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to rehearse, on which clips, held to which limits."""

    submission: CodeSubmission
    clips: list[Path]  # ordinary, decodable ones
    challenge: Challenge
    profile_name: str
    profile: Profile
    videos: int | None = None  # how many ordinary clips in the first run; they are repeated as often as needed
    limit_s: float | None = None  # wall time of any one run; None: the profile's at first, then what was measured
    seed: int = 0
    inputs: tuple[HardInput, ...] = HARD_INPUTS


def rehearse(
    request: RehearsalRequest,
    backend: SandboxBackend,
    runs: Path,
    audience: RunListener,
    on_step: Callable[[str, int, float], None] = lambda *_: None,
) -> RehearsalReport:
    """Rehearse a code submission. `runs`/<rehearsal id> holds `rehearsal.json`, the inputs and all runs afterwards.

    `on_step(what, videos, limit_s)` announces each run. Raises KitError where data, machine or harness are at fault.
    """
    if request.videos is not None and request.videos < 1:
        raise UsageError(f"A rehearsal needs a video; asked for {request.videos}.", hint="For example: --videos 4000")
    started = datetime.now(UTC)
    folder = _new_folder(runs, f"{started:%Y%m%d-%H%M%S}-{request.submission.name}-rehearsal")
    (folder / "inputs").mkdir()
    made, left_out = make(folder / "inputs", request.clips, request.seed, request.inputs)
    table = {hard.code: hard for hard in request.inputs}
    theatre = TrialRunner(_run_request(request), backend, folder, audience, on_step)
    play = Rehearsal(request, theatre, {one.code: Video(one.code, one.path, table[one.code]) for one in made})
    interrupted = False
    try:
        play.perform()
    except Interrupted:
        interrupted = True
    found = [play.findings.get(one.code) or findings.untried(table[one.code]) for one in made]
    whole = [play.findings[code] for code in play.findings if code not in table]
    marks = [*(one.severity for one in (*whole, *found)), *(one.severity for one in play.comparisons)]
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
        outcome="interrupted" if interrupted else "failed" if Severity.ERROR in marks else "passed",
        findings=[*whole, *found],
        comparisons=play.comparisons,
        left_out=left_out,
        steps=theatre.steps,
    )
    save(report, folder)
    return report


@dataclass
class Rehearsal:
    """The runs of a rehearsal in their order, and what they show. Each method is one act."""

    request: RehearsalRequest
    theatre: TrialRunner
    hard: dict[str, Video]  # by code
    findings: dict[str, RehearsalFinding] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)

    def perform(self) -> None:
        """All acts, as far as the submission gets. Raises Interrupted."""
        plain = self._ordinary()
        if not plain.valid:
            return  # without hard inputs already: nothing could be said about them
        hard = self._among_hard_inputs(self._limit_after(plain))
        if hard is None:
            return
        silent = findings.silent_value(hard)
        self._note(findings.with_silent_default(self.findings[ORDINARY], plain, silent))
        for name, video in hard.videos.items():
            if video.hard is not None:
                self._note(findings.of_input(name, video.hard, hard, silent, self._run_of(hard)))
        self._repetition(plain, hard)

    def _ordinary(self) -> Trial:
        clips = self.request.clips
        count = self.request.videos or min(len(clips), MOST_CLIPS) + MORE
        wall_s = self.request.profile.limits.wall_time_s
        limit_s = self.request.limit_s or min(SLOWEST_S * count, wall_s or math.inf)
        plain = self.theatre.trial(PLAIN, named(_ordinary_videos(clips, count), self._seed(1)), limit_s)
        self._note(findings.of_ordinary(plain, self._run_of(plain)))
        return plain

    def _limit_after(self, plain: Trial) -> float:
        """Room enough for hard inputs, little enough that a hang is noticed soon."""
        rows, taken_s = len(self.hard) + AMONG_HARD, plain.seen.outcome.usage.wall_time_s
        wall_s = self.request.profile.limits.wall_time_s
        measured_s = SPARE_S + SPARE_TIMES * taken_s * rows / len(plain.videos)
        return self.request.limit_s or min(measured_s, wall_s or math.inf)

    def _among_hard_inputs(self, limit_s: float) -> Trial | None:
        """A run that tells of each input, the culprits of failing runs left out of it; None if there is no such run."""
        left = dict(self.hard)
        most_runs = len(self.theatre.steps) + 2 * len(left) + EXTRA_RUNS

        def attempt(codes: Iterable[str], beside: int = BESIDE_ONE, what: str = SUSPECTS) -> Trial | None:
            if len(self.theatre.steps) >= most_runs:
                return None
            videos = [*_ordinary_videos(self.request.clips, beside), *(left[code] for code in codes)]
            return self.theatre.trial(what, named(videos, self._seed(2)), limit_s)

        beside = min(len(self.request.clips), AMONG_HARD)
        while (trial := attempt(left, beside, HARD)) is not None:
            if findings.is_readable(trial):
                return trial
            found = bisect.find(trial, list(left), attempt)
            if found is None:
                self._note(findings.of_all_together(trial, self._run_of(trial)))
                return None
            video = left.pop(found.code)
            name = next(name for name, one in found.trial.videos.items() if one == video)
            self._note(findings.of_culprit(video, name, found.trial, self._run_of(found.trial)))
        return None

    def _repetition(self, plain: Trial, hard: Trial) -> None:
        """The same again, and in another order; no order is tried where not even the same gives the same."""
        limit_s = self.theatre.steps[-1].limit_s
        again = self.theatre.trial(AGAIN, hard.videos, limit_s)
        self.comparisons.append(_compare(AGAIN, hard, again, Severity.ERROR, FIX_AGAIN))
        if self.comparisons[-1].severity is Severity.ERROR:
            return
        renamed = named(list(hard.videos.values()), self._seed(3), shuffled=True)
        shuffled = self.theatre.trial(SHUFFLED, renamed, limit_s)
        self.comparisons.append(_compare(SHUFFLED, hard, shuffled, Severity.ERROR, FIX_ORDER))
        self.comparisons.append(_compare("other company", plain, hard, Severity.WARNING, FIX_COMPANY, common_only=True))

    def _note(self, finding: RehearsalFinding) -> None:
        self.findings[finding.code] = finding

    def _run_of(self, trial: Trial) -> str:
        return str(trial.folder.relative_to(self.theatre.folder))

    def _seed(self, act: int) -> int:
        """The same names in the same act; others in another."""
        return self.request.seed * 10 + act


def _compare(
    what: str, one: Trial, other: Trial, worst: Severity, fix: str, *, common_only: bool = False
) -> Comparison:
    """Labels of the same content in two runs. A row in only one of them counts as a difference of 1."""
    first, second = one.by_key(), other.by_key()
    keys = sorted(first.keys() & second.keys() if common_only else first.keys() | second.keys())
    shifts = {key: _shift(first.get(key), second.get(key)) for key in keys}
    where = max(shifts, key=lambda key: shifts[key], default="")
    largest = shifts.get(where, 0.0)
    severity = Severity.OK if largest <= ROUNDING else worst
    return Comparison(
        what=what,
        severity=severity,
        compared=len(keys),
        differing=sum(shift > 0 for shift in shifts.values()),
        largest=largest,
        where=where if largest else "",
        fix="" if severity is Severity.OK else fix,
    )


def _shift(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 1.0
    if math.isnan(one) or math.isnan(other):
        return 0.0 if math.isnan(one) and math.isnan(other) else 1.0
    return abs(one - other)


def _ordinary_videos(clips: list[Path], count: int) -> list[Video]:
    """The clips as often as needed to be `count`; a repetition has a key of its own."""
    rounds = islice(enumerate(cycle(clips)), count)
    return [
        Video(clip.name if at < len(clips) else f"{clip.name}, copy {at // len(clips) + 1}", clip)
        for at, clip in rounds
    ]


def _run_request(request: RehearsalRequest) -> RunRequest:
    return RunRequest(
        submission=request.submission,
        dataset=Dataset(folder=request.clips[0].parent, videos=request.clips, sample_submission=None, solution=None),
        challenge=request.challenge,
        profile_name=request.profile_name,
        profile=request.profile,
    )


def _new_folder(runs: Path, name: str) -> Path:
    """A folder that was not there before. Raises OutputError."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        folder = runs / name
        if folder.exists():
            folder = runs / f"{name}-{secrets.token_hex(2)}"
        folder.mkdir()
    except OSError as error:
        raise OutputError(
            f"Cannot make a folder in {runs}: {error.strerror}.", hint="Choose a folder that can be written: --out DIR"
        ) from error
    return folder.resolve()
