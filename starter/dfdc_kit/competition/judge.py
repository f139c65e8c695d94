"""Judge one submission of a plan: safe to repeat, to kill at any moment, and to start twice at the same time.

A task is a submission's key, or key.r1 for its first rerun. Its result folder appears in one rename, complete and on
disk, or not at all. Whoever judges it holds its lease. A fault that is not the submission's leaves no result.
"""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from dfdc_kit.competition.lease import LeaseWatch
from dfdc_kit.competition.plan import Plan, PlannedSubmission, code_digest, data_digests, data_state, read_confined
from dfdc_kit.competition.results import PREDICTIONS, RESULT, RESULTS, RUN, JudgedSubmission
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.errors import DataError, KitError, SubmissionError, UsageError
from dfdc_kit.files import file_sha256, to_json, write_json
from dfdc_kit.formatting import format_bytes
from dfdc_kit.harness.request import NullListener, RunListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.harness.stage import remove_tree
from dfdc_kit.report import html
from dfdc_kit.report.run_report import CSV, PAGE, RunReport
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox import choose
from dfdc_kit.sandbox.base import Ending, SandboxBackend

LEASES, FAULTS, RERUNS, WORK = "leases", "faults", "reruns", "work"  # folders of a judging folder
INVALID = "invalid-submission"  # a verdict beside those of a run: there is nothing that could be run
RERUN = ".r"
PROGRESS = re.compile(r" ?(?:\d[\d,]* of [\d,]+ videos? had been read; last opened: .*|No video had been opened\.)$")

Kind = Literal["judged", "busy", "changed", "fault", "interrupted", "died"]


class TaskOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt to judge a task ended.

    judged: its result is on disk; busy: somebody else holds its lease; changed: its files are not those of the plan;
    fault: this machine or the kit failed, which says nothing about the submission; interrupted: whoever judged it was
    stopped; died: the worker vanished.
    """

    task: str
    kind: Kind
    message: str = ""
    machine: str = ""


def result_folder(judging: Path, task: str) -> Path:
    """The result folder of a task, whether it exists or not."""
    return judging / (RERUNS if RERUN in task else RESULTS) / task


def lease_path(judging: Path, task: str) -> Path:
    """The lease file of a task."""
    return judging / LEASES / f"{task}.lease"


class Judge:
    """Judges tasks of one plan in this process; what they share is read once."""

    def __init__(self, judging: Path, plan: Plan, engine: str, listener: RunListener | None = None) -> None:
        self._judging, self._plan, self._engine = judging.absolute(), plan, engine
        self._listener = listener or NullListener()
        self._watch = LeaseWatch()

    @cached_property
    def _backend(self) -> SandboxBackend:
        return choose(self._plan.backend, self._plan.profile, self._plan.require)

    def judge(self, task: str) -> TaskOutcome:
        """Judge `task` unless that is done already. Never raises a KitError: a fault is an outcome."""
        if result_folder(self._judging, task).is_dir():
            return self._ended(task, "judged")
        try:
            lease = self._watch.acquire(lease_path(self._judging, task))
            if lease is None:
                return self._ended(task, "busy")
            with lease:
                return self._judge_leased(task)
        except KeyboardInterrupt:
            raise
        except Exception as error:  # noqa: BLE001 - whatever happens to us must not end the judging of others
            message = str(error) if isinstance(error, KitError | OSError) else f"{type(error).__name__}: {error}"
            return self._ended(task, "fault", message)

    def _judge_leased(self, task: str) -> TaskOutcome:
        target = result_folder(self._judging, task)
        if target.is_dir():
            return self._ended(task, "judged")
        planned = self._plan.find(task.partition(RERUN)[0])
        if code_digest(planned.folder, self._plan.inputs) != planned.code_digest:
            return self._ended(task, "changed", "Its files changed after they were listed.")
        with self._work_folder(task) as work:
            dataset = self._dataset()
            try:
                report = self._run(planned, dataset, work)
            except (SubmissionError, _InvalidSubmissionError) as error:
                where = str(planned.folder)  # of this machine: boards are published
                reason = str(error).replace(f"{where}/", "").replace(where, planned.folder.name)
                result = self._result(planned, INVALID, reason)
            else:
                if report.submission_sha256 != planned.code_digest:
                    return self._ended(task, "changed", "Its files changed while it was judged.")
                if report.judgement.verdict is Verdict.INTERRUPTED:
                    return self._ended(task, "interrupted", "the same command judges it")
                if report.judgement.verdict is Verdict.HARNESS_ERROR:
                    return self._ended(task, "fault", report.judgement.why)
                result = self._collect(planned, report, work)
            _publish(work / "result", result, target)
        (self._judging / FAULTS / f"{task}.json").unlink(missing_ok=True)
        return self._ended(task, "judged")

    def _dataset(self) -> Dataset:
        """The data of the plan. Raises DataError if its files are not those that were digested."""
        dataset = self._plan.dataset()
        changed = data_state(dataset) != self._plan.data_state and data_digests(dataset)[1] != self._plan.data_digest
        if changed:
            raise DataError(f"The data in {dataset.folder} has changed since judging began.", hint="Restore it.")
        metric = self._plan.challenge.metric_path
        if file_sha256(metric) != self._plan.metric_digest:
            raise DataError(f"The metric {metric} has changed since judging began.", hint="Restore it.")
        return dataset

    def _run(self, planned: PlannedSubmission, dataset: Dataset, work: Path) -> RunReport:
        try:
            submission = read_confined(planned.folder, self._plan.inputs)
        except UsageError as error:  # the slug of an attached input, for instance: its own settings
            raise _InvalidSubmissionError(str(error)) from error
        request = RunRequest(
            submission=submission,
            dataset=dataset,
            challenge=self._plan.challenge,
            profile_name=self._plan.profile_name,
            profile=self._plan.profile,
            input_sha256=self._plan.videos_digest,
            hidden=(self._judging, *sorted({one.folder.parent for one in self._plan.submissions})),
        )
        report = run(request, self._backend, work / "runs", self._listener)
        html.write(report, work / "runs" / report.run_id, with_pictures=False)
        return report

    def _collect(self, planned: PlannedSubmission, report: RunReport, work: Path) -> JudgedSubmission:
        """The result of a run, and its files in `work`/result."""
        folder, usage = work / "result", report.observation.outcome.usage
        folder.mkdir()
        (work / "runs" / report.run_id).rename(folder / RUN)
        complete = report.judgement.verdict is Verdict.COMPLETE
        if complete:
            shutil.copyfile(folder / RUN / CSV, folder / PREDICTIONS)
        return msgspec.structs.replace(
            self._result(planned, report.judgement.verdict.value, lasting_reason(report)),
            score=report.score.value if report.score else None,
            wall_time_s=usage.wall_time_s,
            peak_memory_bytes=usage.peak_memory_bytes,
            predictions=PREDICTIONS if complete else None,
            report=f"{RUN}/{PAGE}",
        )

    def _result(self, planned: PlannedSubmission, verdict: str, reason: str) -> JudgedSubmission:
        return JudgedSubmission(
            key=planned.key,
            team=planned.team,
            name=planned.name,
            baseline=planned.baseline,
            folder=str(planned.folder),
            submitted_at=planned.submitted_at,
            code_digest=planned.code_digest,
            data_digest=self._plan.data_digest,
            profile=self._plan.profile_name,
            metric_digest=self._plan.metric_digest,
            verdict=verdict,
            reason=reason,
            score=None,
            wall_time_s=0.0,
            peak_memory_bytes=None,
            machine=platform.node(),
            engine=self._engine,
            predictions=None,
            report=None,
        )

    @contextmanager
    def _work_folder(self, task: str) -> Iterator[Path]:
        """An empty folder for the holder of the task's lease; whatever an earlier holder left there is removed."""
        work = self._judging / WORK / task
        remove_tree(work)
        work.mkdir(parents=True)
        try:
            yield work
        finally:
            with suppress(OSError):
                remove_tree(work)

    def _ended(self, task: str, kind: Kind, message: str = "") -> TaskOutcome:
        outcome = TaskOutcome(task=task, kind=kind, message=message, machine=platform.node())
        if kind in ("fault", "changed", "interrupted"):
            with suppress(OSError):  # for `--status` only
                write_json(self._judging / FAULTS / f"{task}.json", outcome)
        return outcome


def lasting_reason(report: RunReport) -> str:
    """Why a run has its verdict, without measured times, sizes and progress: the same in every run of the same code.

    The run's report has them all.
    """
    limits = report.profile.limits
    exceeded = {
        Ending.WALL_TIME: f"Stopped at the time limit of {limits.wall_time_s or 0:g} s.",
        Ending.MEMORY: f"Used more than {format_bytes(limits.memory_bytes or 0)} of memory.",
        Ending.GPU_MEMORY: f"Used more than {format_bytes(limits.gpu_memory_bytes or 0)} of one GPU's memory.",
        Ending.OUTPUT: f"Wrote more than {format_bytes(limits.output_bytes or 0)} to the working folder.",
    }
    return exceeded.get(report.observation.outcome.ending) or PROGRESS.sub("", report.judgement.why)


class _InvalidSubmissionError(Exception):
    """The submission cannot be read as one."""


def _publish(folder: Path, result: JudgedSubmission, target: Path) -> None:
    """Write the result into `folder`, flush everything to disk, and rename it to `target`.

    If somebody else has published the task meanwhile, theirs stands. Raises OSError, as for a full disk.
    """
    folder.mkdir(exist_ok=True)
    (folder / RESULT).write_bytes(to_json(result))
    for path in (folder, *folder.rglob("*")):
        _flush(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(target)
    except OSError:
        if not (target / RESULT).is_file():
            raise
    _flush(target.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
