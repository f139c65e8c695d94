"""Judge all submissions of a plan on an engine: start what has no result, wait for what others judge, retry faults.

`JudgingCommand` is one call of `dfdc judge`, `Coordinator` its loop, `read_status` what `dfdc judge --status` shows.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dfdc_kit.competition.engines import Engine, EngineOptions, check_engine, start_engine
from dfdc_kit.competition.judge import FAULTS, TaskOutcome, lease_path, result_folder
from dfdc_kit.competition.lease import LeaseWatch
from dfdc_kit.competition.ledger import LedgerEntry, enter_rerun, rerun_tasks
from dfdc_kit.competition.plan import Plan, load_plan
from dfdc_kit.competition.results import RESULT, JudgedSubmission, load_result, load_results
from dfdc_kit.errors import OutputError, UsageError
from dfdc_kit.files import hold_lock, write_json

RETRIES = 2
QUEUED = "queued.json"  # why tasks wait in the queue of a cluster, for `--status`
REPLACED = "replaced"  # folder of results whose submission has changed since


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far judging is."""

    judged: int
    total: int
    eta_s: float | None  # from the pace of this command so far; None: nothing has ended yet
    queued: dict[str, str] = {}  # why tasks wait in the queue of a cluster


class Coordinator:
    """Has every task judged by an engine."""

    def __init__(self, judging: Path, engine: Engine, retries: int = RETRIES) -> None:
        self._judging, self._engine, self._retries = judging, engine, retries
        self._watch = LeaseWatch()
        self._faults: Counter[str] = Counter()
        self._queued: dict[str, str] = {}

    def judge_all(self, tasks: list[str], on_progress: Callable[[Progress], None]) -> list[TaskOutcome]:
        """The outcome of each task that has no result at the end: a fault in every attempt, or changed files."""
        waiting = [task for task in dict.fromkeys(tasks) if not self._is_judged(task)]
        for task in waiting:
            (self._judging / FAULTS / f"{task}.json").unlink(missing_ok=True)
        started, before, total = time.monotonic(), len(tasks) - len(waiting), len(tasks)
        running: set[str] = set()
        given_up: list[TaskOutcome] = []
        (self._judging / QUEUED).unlink(missing_ok=True)
        while waiting or running:
            ready = [task for task in waiting if self._watch.holder(lease_path(self._judging, task)) is None]
            unjudged = [task for task in ready if not self._is_judged(task)]
            if unjudged:
                self._engine.submit(unjudged)
                running.update(unjudged)
            waiting = [task for task in waiting if task not in ready]
            for outcome in self._engine.ended():
                running.discard(outcome.task)
                if self._is_judged(outcome.task):
                    continue
                if self._is_final(outcome):
                    given_up.append(outcome)
                else:
                    waiting.append(outcome.task)
            judged = total - len(waiting) - len(running) - len(given_up)
            eta_s = _eta_s(started, judged - before, total - judged)
            on_progress(Progress(judged=judged, total=total, eta_s=eta_s, queued=self._note_queued()))
        return given_up

    def _note_queued(self) -> dict[str, str]:
        """What the engine says of its queue, written down for `--status` where it is news."""
        if (queued := self._engine.queued()) != self._queued:
            self._queued = queued
            with suppress(OutputError):
                write_json(self._judging / QUEUED, queued)
        return queued

    def _is_judged(self, task: str) -> bool:
        return result_folder(self._judging, task).is_dir()

    def _is_final(self, outcome: TaskOutcome) -> bool:
        """Whether to give a task up that ended without a result."""
        if outcome.kind == "busy":
            return False
        self._faults[outcome.task] += 1
        return outcome.kind == "changed" or self._faults[outcome.task] > self._retries


class JudgingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one call has judged, or judged again."""

    judging: Path
    names: dict[str, str]  # team/name of each task
    not_judged: list[TaskOutcome]
    results: list[JudgedSubmission] = []
    reruns: list[LedgerEntry] = []


@dataclass(frozen=True, slots=True)
class JudgingCommand:
    """One call of `dfdc judge` on a judging folder. Its methods raise KitError."""

    judging: Path
    engine: str  # a name in ENGINES
    options: EngineOptions
    retries: int  # further attempts after a fault of a machine
    on_progress: Callable[[Progress], None]
    warn: Callable[[str], None]

    def judge(self, make_plan: Callable[[], Plan]) -> JudgingReport:
        """Judge all submissions of the plan that have no result."""
        with self._locked():
            plan = make_plan()
            not_judged = self._run(plan, [one.key for one in plan.submissions])
            results = match_results_to_plan(self.judging, plan)
        names = {one.key: f"{one.team}/{one.name}" for one in plan.submissions}
        return JudgingReport(judging=self.judging, names=names, not_judged=not_judged, results=results)

    def rerun(self, names: list[str], reason: str, *, replace: bool) -> JudgingReport:
        """Judge submissions, by name or team/name, again, and enter that in the ledger."""
        if not reason.strip():
            raise UsageError(
                "A rerun needs a reason, which the ledger keeps.", hint='Say why: --reason "disk was full"'
            )
        plan = load_plan(self.judging)
        with self._locked():
            tasks = rerun_tasks(self.judging, plan, names)
            not_judged = self._run(plan, tasks)
            failed = {one.task for one in not_judged}
            lower = plan.challenge.metric.lower_is_better
            reruns = [
                enter_rerun(self.judging, task, reason, lower_is_better=lower, replace=replace)
                for task in tasks
                if task not in failed
            ]
        by_task = dict(zip(tasks, names, strict=True))
        return JudgingReport(judging=self.judging, names=by_task, not_judged=not_judged, reruns=reruns)

    def _locked(self) -> AbstractContextManager[object]:
        check_engine(self.engine)  # before the folder is made
        return hold_lock(self.judging / "lock", f"Another `dfdc judge` works on {self.judging}", "--out", self.warn)

    def _run(self, plan: Plan, tasks: list[str]) -> list[TaskOutcome]:
        judging = self.judging.absolute()
        with start_engine(self.engine, judging, plan, self.options) as engine:
            return Coordinator(judging, engine, self.retries).judge_all(tasks, self.on_progress)


def _eta_s(started: float, done: int, left: int) -> float | None:
    return (time.monotonic() - started) / done * left if done > 0 else None


def match_results_to_plan(judging: Path, plan: Plan) -> list[JudgedSubmission]:
    """The results of the plan's submissions, with what the list says about each now.

    An earlier result of a submission whose code has changed moves to `judging`/replaced once there is a new one. Raises
    KitError.
    """
    planned = {(one.team, one.name): one for one in plan.submissions}
    results = []
    for result in load_results(judging):
        now = planned.get((result.team, result.name))
        folder = result_folder(judging, result.key)
        if now is None:
            continue
        if result.key != now.key:
            if result_folder(judging, now.key).is_dir():
                (judging / REPLACED).mkdir(exist_ok=True)
                folder.rename(judging / REPLACED / result.key)
            continue
        listed = {"folder": str(now.folder), "submitted_at": now.submitted_at, "baseline": now.baseline}
        updated = msgspec.structs.replace(result, **listed)
        if updated != result:
            write_json(folder / RESULT, updated)
        results.append(updated)
    return results


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where one submission stands."""

    team: str
    name: str
    key: str
    state: str  # "judged", "running", "waiting", "interrupted", "fault", "changed"
    detail: str  # verdict, machine, or what went wrong
    score: float | None = None


def read_status(judging: Path) -> list[TaskStatus]:
    """Where each submission of the plan stands; asks no engine. Raises DataMissingError or DataError."""
    plan, watch = load_plan(judging), LeaseWatch()
    queue = judging / QUEUED
    queued = msgspec.json.decode(queue.read_bytes(), type=dict[str, str]) if queue.is_file() else {}
    found = []
    for one in plan.submissions:
        state, detail, score = "waiting", "", None
        fault = judging / FAULTS / f"{one.key}.json"
        if (folder := result_folder(judging, one.key)).is_dir():
            result = load_result(folder / RESULT)
            state, detail, score = "judged", result.verdict, result.score
        elif holder := watch.holder(lease_path(judging, one.key)):
            state, detail = "running", f"{holder.machine}, process {holder.process}"
        elif fault.is_file():
            outcome = msgspec.json.decode(fault.read_bytes(), type=TaskOutcome)
            state, detail = outcome.kind, outcome.message
        elif one.key in queued:
            detail = f"in the queue: {queued[one.key]}"
        found.append(TaskStatus(team=one.team, name=one.name, key=one.key, state=state, detail=detail, score=score))
    return found
