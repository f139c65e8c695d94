"""Run a submission on clean and degraded copies of the same videos, and compare the losses video by video."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec import structs

from dfdc_kit import __version__
from dfdc_kit.csv_text import as_text
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.data.inspection import cores
from dfdc_kit.data.making.copies import METADATA, degrade_folder
from dfdc_kit.data.making.degrade import KINDS, frame_as_jpeg
from dfdc_kit.data.solution import read_solution, read_solution_for
from dfdc_kit.errors import MetricError, UsageError
from dfdc_kit.files import write_json
from dfdc_kit.formatting import plural
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.run import new_folder, run
from dfdc_kit.harness.training_folder import find_training_folder
from dfdc_kit.report.history import Event, Kind, record_or_warn
from dfdc_kit.report.robustness import DegradedRun, RobustnessReport, save
from dfdc_kit.report.run_report import CSV, RunReport
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox.base import SandboxBackend
from dfdc_kit.scoring.intervals import mean_interval
from dfdc_kit.scoring.metric import load_metric
from dfdc_kit.scoring.score import row_losses
from dfdc_kit.submission.validate import validate

CLEAN = "clean"
FEW_CLUSTERS = 100  # with fewer, the caution is printed
SHOWN_CLIPS, SHOWN_FRAME, SHOWN_WIDTH = 4, 20, 240  # of the contact sheet

Losses = dict[str, float]  # by video


def robustness(
    request: RunRequest,
    backend: SandboxBackend,
    runs: Path,
    listener: RunListener,
    kinds: list[str],
    *,
    seed: int = 0,
    videos: int | None = None,
    on_step: Callable[[str, int], None] = lambda *_: None,
    warn: Callable[[str], None] = lambda _: None,
) -> RobustnessReport:
    """Run on clean videos, then on copies degraded by each of `kinds`; `runs`/<id> contains reports, page and runs.

    videos: how many of the data set's videos, drawn at random by `seed`; None: all. `on_step(kind, videos)` announces
    each run. Raises UsageError without labels, MetricError for a metric without losses of rows, and what runs raise.
    """
    clips = _chosen(request.dataset, videos, seed)
    originals = _originals(request)
    clusters = [originals.get(clip.name, clip.name) for clip in clips]
    started = datetime.now(UTC)
    folder = new_folder(runs, f"{started:%Y%m%d-%H%M%S}-{request.submission.name}-robustness")
    trials = _Trials(request, backend, folder, listener, clips, originals, seed, on_step, warn)
    clean, losses = trials.run(CLEAN)
    found = []
    for kind in kinds if losses is not None else []:
        degraded_run, degraded = trials.run(kind)
        if losses is not None and degraded is not None:
            differences = [degraded[clip.name] - losses[clip.name] for clip in clips if clip.name in losses]
            degraded_run = structs.replace(
                degraded_run,
                difference=math.fsum(differences) / len(differences),
                interval=mean_interval(differences, [originals.get(name, name) for name in losses], seed=seed),
            )
        found.append(degraded_run)
        if degraded_run.verdict == Verdict.INTERRUPTED:
            break
    report = RobustnessReport(
        kit_version=__version__,
        robustness_id=folder.name,
        started=started.isoformat(timespec="seconds"),
        submission=request.submission.name,
        submission_folder=str(request.submission.folder),
        submission_sha256=request.submission.sha256(),
        data_folder=str(request.dataset.folder),
        videos=len(clips),
        clusters=len(set(clusters)),
        seed=seed,
        profile_name=request.profile_name,
        backend=backend.name,
        outcome=_outcome([clean, *found]),
        clean=clean,
        kinds=sorted(found, key=lambda one: -math.inf if one.difference is None else -one.difference),
        caution=_caution(len(set(clusters))),
    )
    save(report, trials.pictures, folder)
    record_or_warn(runs, _event(report, request), warn)
    return report


def _event(report: RobustnessReport, request: RunRequest) -> Event:
    """The row of the history: the loss on the clean videos, and the worst degradation as its message."""
    worst = next((run for run in report.kinds if run.difference is not None), None)
    return Event(
        kind=Kind.ROBUSTNESS,
        name=report.robustness_id,
        happened=report.started,
        submission=report.submission,
        submission_sha256=report.submission_sha256,
        outcome=report.outcome,
        message=f"worst degradation: {worst.kind}, {worst.difference:+.4f}" if worst else "",
        local_score=report.clean.loss,
        local_rows=report.videos,
        lower_is_better=request.challenge.metric.lower_is_better,
        metric=request.challenge.metric.name,
        data=str(Path(request.dataset.solution or report.data_folder).resolve()),
        profile=report.profile_name,
        folder=report.robustness_id,
    )


def _originals(request: RunRequest) -> dict[str, str]:
    """Video -> the one it was made from; empty if the solution does not say."""
    if request.dataset.solution is None:
        return {}
    solution = read_solution(request.dataset.solution, request.challenge)
    if solution.originals is None:
        return {}
    pairs = zip(as_text(solution.ids), as_text(solution.originals), strict=True)
    return {name: original for name, original in pairs if original != name}


def _outcome(found: list[DegradedRun]) -> str:
    verdicts = {one.verdict for one in found}
    if Verdict.INTERRUPTED in verdicts:
        return "interrupted"
    if verdicts <= {Verdict.COMPLETE.value}:
        return "complete"
    failed = verdicts - {Verdict.COMPLETE, Verdict.NOT_REPRODUCIBLE, Verdict.HARNESS_ERROR}
    return "failed" if failed else "not-reproducible"


def _caution(clusters: int) -> str:
    if clusters >= FEW_CLUSTERS:
        return ""
    return (
        f"Only {plural(clusters, 'independent video')}: the intervals are wide, and a difference whose interval"
        f" contains 0 may be chance. For a firm answer use {FEW_CLUSTERS} or more."
    )


def _chosen(dataset: Dataset, videos: int | None, seed: int) -> list[Path]:
    """The videos to run on, sorted by name."""
    if dataset.solution is None:
        raise UsageError(
            f"{dataset.folder} has no labels: losses on clean and degraded videos cannot be compared.",
            hint="Name the ground truth with --solution.",
        )
    if videos is not None and videos < 2:
        raise UsageError(f"--videos {videos}: expected at least 2.", hint="For example: --videos 200")
    if videos is None or videos >= len(dataset.videos):
        return dataset.videos
    rows = np.random.default_rng(seed).choice(len(dataset.videos), videos, replace=False)
    return [dataset.videos[row] for row in sorted(rows.tolist())]


@dataclass
class _Trials:
    """The runs of one report, each on copies that are removed afterwards."""

    request: RunRequest
    backend: SandboxBackend
    folder: Path
    listener: RunListener
    clips: list[Path]
    originals: dict[str, str]  # of the clips that have another one
    seed: int
    on_step: Callable[[str, int], None]
    warn: Callable[[str], None]
    pictures: dict[str, list[bytes]] = field(default_factory=dict)  # JPEG files by kind

    def run(self, kind: str) -> tuple[DegradedRun, Losses | None]:
        """Run on the clips as they are (CLEAN), or degraded; the losses by video, None if the run failed."""
        self.on_step(kind, len(self.clips))
        with TemporaryDirectory(prefix=".videos-", dir=self.folder) as temporary:
            linked = Path(temporary, "clips")
            linked.mkdir()
            for clip in self.clips:
                (linked / clip.name).symlink_to(clip.resolve())
            entries = {clip.name: {"original": self.originals.get(clip.name)} for clip in self.clips}
            write_json(linked / METADATA, entries)  # a fake gets the degradation of its original
            copies = self.clips
            if kind != CLEAN:
                made = Path(temporary, "made")
                degrade_folder(linked, made, [kind], seed=self.seed, workers=cores(), warn=self.warn)
                copies = [made / clip.name for clip in self.clips]
            self.pictures[kind] = [frame_as_jpeg(copy, SHOWN_FRAME, SHOWN_WIDTH) for copy in copies[:SHOWN_CLIPS]]
            dataset = Dataset(
                folder=copies[0].parent,
                videos=copies,
                sample_submission=None,
                solution=self.request.dataset.solution,
                training=find_training_folder(self.request.dataset, self.request.challenge),
            )
            runs = self.folder / kind
            report = run(structs.replace(self.request, dataset=dataset), self.backend, runs, self.listener)
        losses = self._losses(report, runs / report.run_id)
        title, family = (KINDS[kind].title, KINDS[kind].family) if kind != CLEAN else ("unchanged", CLEAN)
        return (
            DegradedRun(
                kind=kind,
                family=family,
                title=title,
                verdict=report.judgement.verdict.value,
                kaggle=report.judgement.kaggle,
                folder=str((runs / report.run_id).relative_to(self.folder)),
                fallbacks=report.observation.fallbacks.count,
                loss=None if losses is None else math.fsum(losses.values()) / len(losses),
            ),
            losses,
        )

    def _losses(self, report: RunReport, folder: Path) -> Losses | None:
        if report.judgement.verdict is not Verdict.COMPLETE:
            return None
        challenge, solution = self.request.challenge, self.request.dataset.solution
        _, table = validate(folder / CSV, challenge)
        if table is None or solution is None:
            return None
        metric = load_metric(challenge.metric_path)
        losses = row_losses(metric, read_solution_for(solution, challenge, table.ids), table, challenge)
        if losses is None:
            raise MetricError(f"{metric.path.name} has no function `losses`: videos cannot be compared one by one.")
        return losses
