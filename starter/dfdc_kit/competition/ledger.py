"""Reruns of judged submissions: who asked for each, when and why, and how far its predictions drifted.

`JUDGING/ledger.jsonl` has one line for each finished rerun. The first result stands, unless a rerun replaces it.
"""

import csv
import fcntl
import getpass
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dfdc_kit.competition.judge import RERUN, RERUNS, result_folder
from dfdc_kit.competition.plan import Plan
from dfdc_kit.competition.results import RESULT, JudgedSubmission, load_result, load_results
from dfdc_kit.errors import DataError, OutputError, UsageError, suggest
from dfdc_kit.files import write_json

FILE = "ledger.jsonl"


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """How a rerun differs from the first result. Ranks are by score among all scored results, 1 for the best."""

    largest: float | None  # absolute difference of one prediction; None: one of the two has no predictions
    rows: int  # with a different prediction
    score: float | None  # rerun minus first
    rank_before: int | None
    rank_after: int | None  # if the rerun's score counted


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One rerun."""

    who: str
    when: str  # ISO 8601, UTC
    why: str
    team: str
    name: str
    task: str
    machine: str
    first_machine: str
    verdict: str
    first_verdict: str
    score: float | None
    first_score: float | None
    drift: Drift
    replaced: bool  # whether the rerun counts from now on


def read_ledger(judging: Path) -> list[LedgerEntry]:
    """All entries, oldest first. Raises DataError for a damaged line."""
    path = judging / FILE
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            if line:
                found.append(msgspec.json.decode(line, type=LedgerEntry))
        except msgspec.MsgspecError as error:
            raise DataError(f"{path}, line {number}: {error}", hint="Restore the file from a backup.") from error
    return found


def _append(judging: Path, entry: LedgerEntry) -> None:
    """Add one line, flushed to disk; a torn last line, of a full disk, is cut off first. Raises OutputError."""
    path = judging / FILE
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            content = file.read()
            end = content.rfind(b"\n") + 1
            file.truncate(end)
            file.seek(end)
            file.write(msgspec.json.encode(entry) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror}.", hint="Free some space.") from error


def rerun_tasks(judging: Path, plan: Plan, names: list[str]) -> list[str]:
    """The task of the next rerun of each submission in `names`, as name or team/name.

    A rerun that was judged, but has no line in the ledger yet, is that one. Raises UsageError for an unknown name, or
    one without a first result.
    """
    entered = {entry.task for entry in read_ledger(judging)}
    tasks = []
    for name in names:
        matching = [one for one in plan.submissions if name in (one.name, f"{one.team}/{one.name}")]
        if len(matching) != 1:
            known = [f"{one.team}/{one.name}" for one in plan.submissions]
            what = "More than one team has a" if matching else "There is no"
            raise UsageError(f"{what} submission {name!r}.", hint=suggest(name, known, label="Submissions"))
        key = matching[0].key
        if not result_folder(judging, key).is_dir():
            raise UsageError(f"{name} has not been judged yet: nothing to run again.", hint="Judge it first.")
        number = 1
        while f"{key}{RERUN}{number}" in entered:
            number += 1
        tasks.append(f"{key}{RERUN}{number}")
    return tasks


def enter_rerun(judging: Path, task: str, why: str, *, lower_is_better: bool, replace: bool) -> LedgerEntry:
    """Compare a finished rerun with the first result, and write its line; with `replace`, the rerun counts from now on.

    Raises KitError.
    """
    key = task.partition(RERUN)[0]
    first_folder, folder = result_folder(judging, key), result_folder(judging, task)
    first, rerun = load_result(first_folder / RESULT), load_result(folder / RESULT)
    entry = LedgerEntry(
        who=getpass.getuser(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        why=why,
        team=first.team,
        name=first.name,
        task=task,
        machine=rerun.machine,
        first_machine=first.machine,
        verdict=rerun.verdict,
        first_verdict=first.verdict,
        score=rerun.score,
        first_score=first.score,
        drift=_drift(judging, first, rerun, first_folder, folder, lower_is_better=lower_is_better),
        replaced=replace,
    )
    if replace:
        beside = f"../../{RERUNS}/{task}"
        changes = {
            "predictions": f"{beside}/{rerun.predictions}" if rerun.predictions else None,
            "report": f"{beside}/{rerun.report}" if rerun.report else None,
        }
        write_json(first_folder / RESULT, msgspec.structs.replace(rerun, **changes))  # in one step
    _append(judging, entry)
    return entry


def _drift(
    judging: Path,
    first: JudgedSubmission,
    rerun: JudgedSubmission,
    first_folder: Path,
    folder: Path,
    *,
    lower_is_better: bool,
) -> Drift:
    import numpy as np

    largest, rows = None, 0
    if first.predictions and rerun.predictions:
        before, after = _predictions(first_folder / first.predictions), _predictions(folder / rerun.predictions)
        gaps = np.array([abs(after[row] - value) for row, value in before.items() if row in after])
        largest, rows = float(gaps.max(initial=0.0)), int((gaps > 0).sum())
    scored = first.score is not None and rerun.score is not None
    others = [one.score for one in load_results(judging) if one.score is not None and one.key != first.key]
    return Drift(
        largest=largest,
        rows=rows,
        score=rerun.score - first.score if scored else None,  # type: ignore[operator]
        rank_before=_rank(first.score, others, lower_is_better=lower_is_better),
        rank_after=_rank(rerun.score, others, lower_is_better=lower_is_better),
    )


def _rank(score: float | None, others: list[float], *, lower_is_better: bool) -> int | None:
    if score is None:
        return None
    return 1 + sum(other < score if lower_is_better else other > score for other in others)


def _predictions(path: Path) -> dict[str, float]:
    """The predictions by row id of a valid submission file."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows)
        return {name: float(label) for name, label, *_ in rows}
