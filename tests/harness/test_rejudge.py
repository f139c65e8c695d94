"""A finished run is judged again from its files: the same verdict and score, or a reason why not."""

import shutil
from pathlib import Path

import pytest

from dfdc_kit.errors import DataError
from dfdc_kit.harness.rejudge import rejudge

GOOD = (Path(__file__).parent / "programs" / "good.py").read_text()
CASES = Path(__file__).parents[1] / "cases" / "reports"
SOURCES = {"good": GOOD, "nan": GOOD + "write('nan')", "raises": "raise RuntimeError('x')"}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_unchanged_run_has_the_same_verdict_and_score(run, run_folder, source):
    report = run(source)
    second = rejudge(run_folder())
    assert second.differences == []
    assert (second.judgement, second.score) == (report.judgement, report.score)


def test_run_with_a_changed_csv_is_refused(run, run_folder):
    run(GOOD)
    csv = run_folder() / "submission.csv"
    csv.write_text(csv.read_text().replace("0.5", "0.6"))
    with pytest.raises(DataError, match=r"submission\.csv has changed since the run"):
        rejudge(run_folder())


def test_edited_verdict_is_reported_as_a_difference(run, run_folder, dfdc_here):
    run("raise RuntimeError('x')")
    path = run_folder() / "run.json"
    path.write_text(path.read_text().replace('"verdict": "exception"', '"verdict": "complete"'))
    for command in ("rejudge", "judge-again"):  # its old name is a hidden alias
        done = dfdc_here(command, path.parent)
        assert done.returncode == 1
        assert "verdict" in done.stdout


def test_run_whose_solution_is_missing_keeps_its_verdict_and_says_what_was_not_repeated(
    run, run_folder, sample, tmp_path
):
    shutil.copytree(sample, tmp_path / "data")
    run(GOOD, data=tmp_path / "data")
    (tmp_path / "data/solution/solution.csv").unlink()
    second = rejudge(run_folder())
    assert (second.differences, second.score) == ([], None)
    assert "the solution is missing" in second.not_repeated


def test_report_of_schema_3_is_judged_again(tmp_path):
    (tmp_path / "run.json").write_bytes((CASES / "schema-3-timeout.json").read_bytes())
    assert rejudge(tmp_path).differences == []
