"""Trials: a code submission run on chosen videos under invented names, and what it made of each of them."""

import csv
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from dfdc_kit.report.run_report import CSV, FALLBACKS, LOG, Observation, RunReport
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox.base import SandboxBackend
from dfdc_kit.submission.label_text import parse_labels

LOOK_BACK_LINES = 200  # of a log, for a traceback
TRACEBACK = "Traceback (most recent call last)"


class Video(NamedTuple):
    """One content, whatever it is called in a run."""

    key: str  # the same content has the same key in every run
    path: Path
    hard: HardInput | None = None


class Interrupted(Exception):  # not an error: what was found so far is reported
    """The person at the keyboard has stopped a run."""


@dataclass(frozen=True)
class Trial:
    """A finished run, and what its files say about each video."""

    report: RunReport
    folder: Path
    videos: dict[str, Video]  # by the name in this run
    rows: dict[str, float]  # name -> label as written, NaN if it is no number; what was readable of the CSV
    fallbacks: dict[str, str]  # name -> reason

    @property
    def seen(self) -> Observation:
        """What was observed from outside."""
        return self.report.observation

    @property
    def opens_nothing(self) -> bool:
        """Whether it is known that no video was opened: then no prediction depends on one."""
        return not self.seen.reads and not self.seen.reads_caveat

    @property
    def valid(self) -> bool:
        """Whether the run was complete."""
        return self.report.judgement.verdict is Verdict.COMPLETE

    def by_key(self) -> dict[str, float]:
        """What was written for each content."""
        return {video.key: self.rows[name] for name, video in self.videos.items() if name in self.rows}

    def end_of_log(self) -> tuple[list[str], bool]:
        """The last traceback, or else the last few lines; and whether it is a traceback."""
        lines = last_lines(self.folder / LOG, LOOK_BACK_LINES)
        starts = [at for at, line in enumerate(lines) if TRACEBACK in line]
        return (lines[starts[-1] :], True) if starts else (lines[-3:], False)


@dataclass
class TrialRunner:
    """Where trials take place: below one folder, one after the other."""

    request: RunRequest  # its dataset is another one in each trial
    backend: SandboxBackend
    folder: Path
    audience: RunListener
    on_step: Callable[[str, int, float], None]  # what, number of videos, limit in seconds
    steps: list[RehearsalStep] = field(default_factory=list)

    def trial(self, what: str, videos: dict[str, Video], limit_s: float) -> Trial:
        """Run the submission on `videos`, by name and in the order of the rows.

        Raises Interrupted, after the run is noted, and what `run` raises.
        """
        self.on_step(what, len(videos), limit_s)
        limits = structs.replace(self.request.profile.limits, wall_time_s=limit_s)
        runs = self.folder / f"{len(self.steps) + 1:02d}-{what.replace(' ', '-')}"
        with _linked(videos, self.folder) as dataset:
            profile = structs.replace(self.request.profile, limits=limits)
            request = structs.replace(self.request, dataset=dataset, profile=profile)
            report = run(request, self.backend, runs, self.audience)
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
            raise Interrupted
        columns = request.challenge.submission
        rows = _rows(folder / CSV, columns.row_id, columns.label)
        return Trial(report, folder, videos, rows, _reasons(folder / FALLBACKS))


def named(videos: list[Video], seed: int, *, shuffled: bool = False) -> dict[str, Video]:
    """Each video under a new name of its own; sorted by name as in the challenge, or in an order that is drawn, too."""
    rng = random.Random(seed)
    found: dict[str, Video] = {}
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
def _linked(videos: dict[str, Video], folder: Path) -> Iterator[Dataset]:
    """The videos as hard links under their names, or as copies where a link cannot be made; gone afterwards.

    No run sees these links: what it gets is a copy, as always.
    """
    with TemporaryDirectory(prefix=".videos-", dir=folder) as temporary:
        near: dict[Path, Path] = {}  # an original -> its first link or copy: on another disk one copy is enough
        paths = [Path(temporary, name) for name in videos]
        for target, video in zip(paths, videos.values(), strict=True):
            _link(near.get(video.path, video.path), target)
            near[video.path] = target
        yield Dataset(folder=Path(temporary), videos=paths, sample_submission=None, solution=None)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
        return
    except OSError:  # another disk, too many links, a file system without them
        pass
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise OutputError(
            f"Cannot copy {source} into {target.parent}: {error.strerror}.",
            hint="Choose a folder with room: --out DIR",
        ) from error


def _rows(path: Path, row_id: str, label: str) -> dict[str, float]:
    """What is readable of a submission, valid or not: of a row that is there twice, the last."""
    if not path.is_file():
        return {}
    text = read_csv(path)
    ids, labels = text.column(row_id), text.column(label)
    if ids is None or labels is None:
        return {}
    return dict(zip(as_text(ids), parse_labels(labels).values.tolist(), strict=True))


def _reasons(path: Path) -> dict[str, str]:
    """What a submission's side file says, if it says anything."""
    if not path.is_file():
        return {}
    text = path.read_bytes().decode("utf-8", errors="replace")
    try:
        return {row[0]: row[1][:80] for row in csv.reader(io.StringIO(text)) if len(row) == 2}
    except csv.Error:
        return {}
