"""One run of a rehearsal: a submission on chosen videos under new names, what it wrote for each of them, and which
hard input made it fail: by its traceback, by what was open at a timeout, or by bisection.
"""

import csv
import io
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from msgspec import structs

from dfdc_kit.csv_text import as_text, read_csv
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.errors import OutputError
from dfdc_kit.harness.collect import last_lines
from dfdc_kit.harness.rehearsal.hard_inputs import HardInput, new_name
from dfdc_kit.harness.rehearsal.record import RehearsalStep
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.harness.training_folder import find_training_folder
from dfdc_kit.report.run_report import CSV, FALLBACKS, LOG, Observation, RunReport
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox.base import SandboxBackend
from dfdc_kit.submission.label_text import parse_labels

TRACEBACK_LINES = 200  # of the end of a log, searched for a traceback
TRACEBACK = "Traceback (most recent call last)"
REASON_CHARACTERS = 80
MAX_SUSPECTS = 3  # run alone before the rest is bisected


class TrialVideo(NamedTuple):
    """A video, whatever its name in a run."""

    key: str  # the same content has the same key in every run
    path: Path
    hard: HardInput | None = None


class TrialInterruptedError(Exception):
    """A run was stopped with Ctrl-C; the findings so far are reported."""


@dataclass(frozen=True)
class Trial:
    """A finished run, and what its files say about each video."""

    report: RunReport
    folder: Path
    videos: dict[str, TrialVideo]  # by the name in this run
    rows: dict[str, float]  # name -> label as written, NaN if it is not a number; what was readable of the CSV
    fallbacks: dict[str, str]  # name -> reason

    @property
    def run(self) -> str:
        """The run's folder, relative to the rehearsal's."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def observation(self) -> Observation:
        """What was observed from outside."""
        return self.report.observation

    @property
    def opens_no_video(self) -> bool:
        """Whether it is certain that no video was opened: then no prediction depends on one."""
        return not self.observation.reads and not self.observation.reads_caveat

    @property
    def valid(self) -> bool:
        """Whether the verdict was `complete`."""
        return self.report.judgement.verdict is Verdict.COMPLETE

    @property
    def failed_here(self) -> bool:
        """Whether it failed for want of something that this machine lacks, or by an error of dfdc."""
        return self.report.judgement.verdict in (Verdict.NOT_REPRODUCIBLE, Verdict.HARNESS_ERROR)

    @property
    def faulty_rows(self) -> set[str]:
        """Names without a row, or with a label that is not a number from 0 to 1; empty if the run left no CSV."""
        if self.report.judgement.verdict not in (Verdict.COMPLETE, Verdict.SCORING_ERROR):
            return set()
        return {name for name in self.videos if not 0 <= self.rows.get(name, math.nan) <= 1}

    @property
    def shows_each_input(self) -> bool:
        """Whether the CSV shows what happened to each input, so that no input has to be isolated."""
        return self.valid or (bool(self.rows) and bool(self.faulty_rows))

    def by_key(self) -> dict[str, float]:
        """The label written for each content."""
        return {video.key: self.rows[name] for name, video in self.videos.items() if name in self.rows}

    def end_of_log(self) -> tuple[list[str], bool]:
        """The last traceback, or else the last three lines; and whether it is a traceback."""
        lines = last_lines(self.folder / LOG, TRACEBACK_LINES)
        starts = [at for at, line in enumerate(lines) if TRACEBACK in line]
        return (lines[starts[-1] :], True) if starts else (lines[-3:], False)


@dataclass
class TrialRunner:
    """Runs trials one after the other, each in a folder of its own below `folder`."""

    request: RunRequest  # its dataset is replaced in each trial
    backend: SandboxBackend
    folder: Path
    listener: RunListener
    on_step: Callable[[str, int, float], None]  # what, number of videos, limit in seconds
    steps: list[RehearsalStep] = field(default_factory=list)

    def run(self, what: str, videos: dict[str, TrialVideo], limit_s: float) -> Trial:
        """Run the submission on `videos`, by name and in the order of the rows.

        Raises TrialInterruptedError, after the step is recorded, and what `harness.run.run` raises.
        """
        self.on_step(what, len(videos), limit_s)
        limits = structs.replace(self.request.profile.limits, wall_time_s=limit_s)
        runs = self.folder / f"{len(self.steps) + 1:02d}-{what.replace(' ', '-')}"
        training = find_training_folder(self.request.dataset, self.request.challenge)
        with _linked(videos, self.folder, training) as dataset:
            profile = structs.replace(self.request.profile, limits=limits)
            request = structs.replace(self.request, dataset=dataset, profile=profile)
            report = run(request, self.backend, runs, self.listener)
        folder = runs / report.run_id
        step = RehearsalStep(
            what=what,
            folder=str(folder.relative_to(self.folder)),
            rows=report.rows,
            verdict=report.judgement.verdict.value,
            kaggle=report.judgement.kaggle,
            wall_time_s=report.observation.outcome.usage.wall_time_s,
            limit_s=limit_s,
        )
        self.steps.append(step)
        if report.judgement.verdict is Verdict.INTERRUPTED:
            raise TrialInterruptedError
        columns = request.challenge.submission
        rows = _read_rows(folder / CSV, columns.row_id, columns.label)
        return Trial(report, folder, videos, rows, _read_reasons(folder / FALLBACKS))


def repeated(clips: list[Path], count: int) -> list[TrialVideo]:
    """`count` ordinary videos: the clips, repeated as often as needed; each repetition has a key of its own."""
    rounds = islice(enumerate(cycle(clips)), count)
    return [
        TrialVideo(clip.name if at < len(clips) else f"{clip.name}, copy {at // len(clips) + 1}", clip)
        for at, clip in rounds
    ]


def renamed(videos: list[TrialVideo], seed: int, *, shuffled: bool = False) -> dict[str, TrialVideo]:
    """Each video under a random new name; sorted by name as in the challenge, or in random order."""
    rng = random.Random(seed)
    found: dict[str, TrialVideo] = {}
    for video in videos:
        name = new_name(rng, video.hard)
        while name in found:
            name = new_name(rng, video.hard)
        found[name] = video
    order = sorted(found)
    if shuffled:
        rng.shuffle(order)
    return {name: found[name] for name in order}


@contextmanager
def _linked(videos: dict[str, TrialVideo], folder: Path, training: Path | None) -> Iterator[Dataset]:
    """The videos under their new names, as hard links or else as copies; removed afterwards.

    The submission never sees these links: its stage has copies.
    """
    with TemporaryDirectory(prefix=".videos-", dir=folder) as temporary:
        linked: dict[Path, Path] = {}  # an original -> its first link or copy: on another disk one copy is enough
        paths = [Path(temporary, name) for name in videos]
        for target, video in zip(paths, videos.values(), strict=True):
            _link(linked.get(video.path, video.path), target)
            linked[video.path] = target
        yield Dataset(folder=Path(temporary), videos=paths, sample_submission=None, solution=None, training=training)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
        return
    except OSError:  # another disk, too many links, or a file system without hard links
        pass
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise OutputError(
            f"Cannot copy {source} into {target.parent}: {error.strerror}.",
            hint="Choose a folder on a disk with free space: --out DIR",
        ) from error


def _read_rows(path: Path, row_id: str, label: str) -> dict[str, float]:
    """The rows that can be read, valid or not; of a repeated id, the last row."""
    if not path.is_file():
        return {}
    text = read_csv(path)
    ids, labels = text.column(row_id), text.column(label)
    if ids is None or labels is None:
        return {}
    return dict(zip(as_text(ids), parse_labels(labels).values.tolist(), strict=True))


def _read_reasons(path: Path) -> dict[str, str]:
    """File name -> reason, from fallbacks.csv; empty if it is missing or cannot be read."""
    if not path.is_file():
        return {}
    text = path.read_bytes().decode("utf-8", errors="replace")
    try:
        return {row[0]: row[1][:REASON_CHARACTERS] for row in csv.reader(io.StringIO(text)) if len(row) == 2}
    except csv.Error:
        return {}


Attempt = Callable[[list[str]], Trial | None]  # runs these inputs among ordinary clips; None after too many runs


class Suspects(NamedTuple):
    """Codes of hard inputs that may have caused the failure, the likeliest first."""

    codes: list[str]
    certain: bool  # the log or the open files name exactly one


class FailingInput(NamedTuple):
    """A hard input on which a run fails, and that run."""

    code: str
    trial: Trial


def find_failing_input(trial: Trial, codes: list[str], attempt: Attempt) -> FailingInput | None:
    """The input of `codes` that makes a run fail on its own; None if no single one does, or runs are used up."""
    suspects = _suspects(trial)
    if suspects.certain:
        return FailingInput(suspects.codes[0], trial)
    for code in suspects.codes:
        alone = attempt([code])
        if alone is not None and not alone.shows_each_input:
            return FailingInput(code, alone)
    return _bisect([code for code in codes if code not in suspects.codes], attempt)


def _suspects(trial: Trial) -> Suspects:
    """The files named in the traceback, or still open at a timeout; then those that were opened last."""
    reads = trial.observation.reads
    if trial.report.judgement.verdict is Verdict.TIMEOUT:
        named, certain = [read.name for read in reads if read.closed_s is None], True
    else:
        lines, certain = trial.end_of_log()
        named = [name for name in trial.videos if any(name in line for line in lines)]
    codes = _codes(named, trial)
    if codes and len(named) == 1:
        return Suspects(codes, certain)
    last_opened = _codes([read.name for read in reversed(reads)], trial)
    return Suspects(list(dict.fromkeys([*codes, *last_opened]))[:MAX_SUSPECTS], certain=False)


def _bisect(codes: list[str], attempt: Attempt) -> FailingInput | None:
    """Halve a failing group until one input is left, and confirm that it fails."""
    while len(codes) > 1:
        half = codes[: len(codes) // 2]
        trial = attempt(half)
        if trial is None:
            return None
        codes = codes[len(half) :] if trial.shows_each_input else half
    trial = attempt(codes) if codes else None
    return None if trial is None or trial.shows_each_input else FailingInput(codes[0], trial)


def _codes(names: list[str], trial: Trial) -> list[str]:
    hard = (trial.videos[name].hard for name in names if name in trial.videos)
    return [one.code for one in hard if one is not None]
