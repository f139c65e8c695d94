"""Notebooks are run cell by cell in a fresh kernel."""

from pathlib import Path

import pytest

from dfdc_kit.report.verdicts import Verdict

GOOD = (Path(__file__).parent / "programs" / "good.py").read_text()


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_cells_run_in_order_in_one_process_and_their_output_is_logged(run, notebook, backend):
    report = run(notebook(GOOD, "print('from cell two', len(names))"), backend=backend)
    assert report.judgement.verdict is Verdict.COMPLETE, report.observation.last_output
    assert "from cell two 16" in report.observation.last_output


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_notebook_imports_modules_beside_it_and_the_runner_does_not(run, notebook, tmp_path, backend):
    folder = tmp_path / "several"
    folder.mkdir()
    (folder / "submission.toml").write_text('name = "several"\nentry_point = "main.ipynb"\n')
    (folder / "common.py").write_text("VALUE = 0.5\n")
    (folder / "nbformat.py").write_text("raise RuntimeError('not what the runner wants')\n")
    notebook("import common", GOOD, "write(common.VALUE)", path=folder / "main.ipynb")
    report = run(folder, backend=backend)
    assert report.judgement.verdict is Verdict.COMPLETE, report.observation.last_output


def test_failing_cell_is_named_with_its_traceback_and_ends_the_run(run, notebook, run_folder):
    report = run(notebook("x = 1", "print(undefined)", "print('never')"))
    assert report.judgement.kaggle == "Notebook Threw Exception"
    assert "NameError" in report.judgement.why
    log = (run_folder() / "log.txt").read_text()
    assert "code cell 2 failed" in log
    assert "print(undefined)" in log
    assert "never" not in log
