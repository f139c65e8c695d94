"""Judge a finished run again, from its saved report and files alone."""

from pathlib import Path

import msgspec
from msgspec import structs

from dfdc_kit.data.solution import read_solution_for
from dfdc_kit.errors import DataError
from dfdc_kit.files import file_sha256
from dfdc_kit.harness.judge import judge
from dfdc_kit.report.run_report import CSV, Judgement, RunReport, load
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.scoring.metric import load_metric
from dfdc_kit.scoring.score import Score, score_submission
from dfdc_kit.submission.validate import validate


class Rejudgement(msgspec.Struct, frozen=True, kw_only=True):
    """The second judgement of a run."""

    run_id: str
    judgement: Judgement
    score: Score | None
    differences: list[str]  # "verdict", "score"; empty: identical, bit for bit
    not_repeated: str  # what could not be repeated here, and why; empty if nothing


def rejudge(folder: Path) -> Rejudgement:
    """Judge the run in `folder` again. Raises DataError if its CSV or its metric has changed since the run."""
    report = load(folder)
    folder = folder if folder.is_dir() else folder.parent
    csv = folder / CSV
    _check_unchanged(csv, report.submission_csv_sha256)
    judgement = judge(report.observation, report.scoring, report.challenge, report.profile)
    differences = [] if judgement.verdict is report.judgement.verdict else ["verdict"]  # wording may have improved
    score, not_repeated = None, ""
    if judgement.verdict is Verdict.COMPLETE and report.solution:
        if Path(report.solution).exists():
            score = _score_again(report, csv)
            differences += [] if _is_same(score, report.score) else ["score"]
        else:
            not_repeated = f"the score, because the solution is missing: {report.solution}"
    return Rejudgement(
        run_id=report.run_id, judgement=judgement, score=score, differences=differences, not_repeated=not_repeated
    )


def _is_same(score: Score, before: Score | None) -> bool:
    """Whether two scores are equal in all that the earlier report has: older versions did not keep the curves."""
    if before is not None and before.curves is None:
        score = msgspec.structs.replace(score, secondary=before.secondary, curves=None)
    return score == before


def _score_again(report: RunReport, csv: Path) -> Score:
    metric = load_metric(report.challenge.metric_path)
    _check_unchanged(metric.path, report.metric_sha256)
    _, table = validate(csv, report.challenge)
    if table is None:
        raise DataError(f"{csv} is not valid, but the report says that it was.", hint="The report was changed.")
    solution = read_solution_for(Path(report.solution), report.challenge, table.ids)
    score = score_submission(metric, solution, table, report.challenge)
    estimated = report.score.uncertainty if report.score else None  # from random draws: its last digits may differ
    return structs.replace(score, uncertainty=estimated)


def _check_unchanged(path: Path, sha256: str) -> None:
    seen = file_sha256(path)
    if seen != sha256:
        raise DataError(
            f"{path} has changed since the run: sha256 {seen or 'of no file'}, recorded {sha256 or 'none'}.",
            hint="Run the submission again.",
        )
