"""What is refused before a run starts: with its exit code, a next step, and no run folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dfdc_kit.errors import DataError, DataMissingError, OutputError, SandboxError, SubmissionError, UsageError
from dfdc_kit.report import run_report

GOOD = (Path(__file__).parent / "programs" / "good.py").read_text()


def test_solution_without_the_required_rows_is_refused(run, tmp_path):
    (tmp_path / "solution.csv").write_text("filename,label\na.mp4,1\n")
    with pytest.raises((DataError, DataMissingError), match=r"solution\.csv"):
        run(GOOD, solution=tmp_path / "solution.csv")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("inside", ["data", "solution", "runs"])
def test_labels_and_reports_inside_the_submissions_folder_are_refused(run, code_submission, sample, tmp_path, inside):
    folder = code_submission(GOOD)
    data = folder / "data" if inside == "data" else sample
    if inside == "data":
        shutil.copytree(sample, data)
    solution = folder / "solution.csv" if inside == "solution" else None
    if solution is not None:
        shutil.copy(sample / "solution/solution.csv", solution)
    if inside == "runs":
        (tmp_path / "runs").symlink_to(folder)
    with pytest.raises(UsageError, match="so the submission could read it"):
        run(folder, data=data, solution=solution)


def test_folder_runs_inside_the_submissions_folder_is_allowed_and_left_out(dfdc, code_submission):
    folder = code_submission(GOOD + "print(sorted(p.name for p in pathlib.Path(__file__).parent.iterdir()))")
    for _ in range(2):
        done = dfdc("run", folder, "--out", folder / "runs")
        assert done.returncode == 0, done.stderr
    assert "['main.py', 'submission.toml']" in done.stdout


def test_output_folder_that_is_a_file_is_refused(run, tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(OutputError) as caught:
        run(GOOD)
    assert caught.value.exit_code == 4
    assert "--out" in caught.value.hint


@pytest.mark.parametrize(("wrong", "code"), [("no-such-folder", 2), ("file", 1)])
def test_path_that_is_no_submission_ends_in_a_sentence(dfdc, tmp_path, wrong, code):
    (tmp_path / "file").write_text("x")
    done = dfdc("run", tmp_path / wrong)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr


@pytest.mark.parametrize(
    ("key", "value"), [("wall_time_s", "nan"), ("wall_time_s", "inf"), ("wall_time_s", "-5.0"), ("cpu_cores", "0")]
)
def test_profile_with_an_impossible_limit_is_refused(dfdc, code_submission, tmp_path, key, value):
    path = tmp_path / "odd.toml"
    path.write_text(f'title = "odd"\nas_of = "2026-11-26"\n[limits]\n{key} = {value}\n[hardware]\n[source]\n')
    done = dfdc("run", code_submission(GOOD), "--profile", path)
    assert done.returncode == 3
    assert f"$.limits.{key}" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_unknown_profile_is_refused_with_the_known_ones(dfdc, code_submission):
    done = dfdc("run", code_submission(GOOD), "--profile", "kaggle-2021")
    assert done.returncode == 2
    assert "kaggle-2020-gpu" in done.stderr


def test_required_limit_is_enforced_or_the_run_is_refused(dfdc, code_submission, tmp_path):
    folder = code_submission(GOOD)
    assert dfdc("run", folder, "--require", "wall_time,descendants").returncode == 0
    unknown = dfdc("run", folder, "--require", "netwrk")
    assert unknown.returncode == 2
    assert "Did you mean 'network'?" in unknown.stderr
    unlimited = dfdc("run", folder, "--profile", "unlimited", "--require", "memory", "--out", tmp_path / "none")
    assert unlimited.returncode == 2
    assert not (tmp_path / "none").exists()


SYSTEM_FOLDER = """import sys
from dfdc_kit.sandbox import visible_paths
visible_paths.SYSTEM = (*visible_paths.SYSTEM, sys.argv.pop(1))
sys.exec_prefix = visible_paths.SYSTEM[-1] + "/home/venv"
from dfdc_kit.cli import main
main()
"""  # the command `dfdc`, with one more system folder, and a Python environment in a home folder below it


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_labels_runs_home_and_credentials_below_a_system_folder_are_hidden(code_submission, sample, tmp_path, backend):
    prefix = tmp_path / "prefix"
    shutil.copytree(sample, prefix / "data")
    shutil.copy(sample / "solution/solution.csv", prefix / "solution.csv")
    secrets = ["data/solution/solution.csv", "solution.csv", "runs/earlier/run.json", "home/note", "kaggle/kaggle.json"]
    for name in (*secrets, "home/venv/module.py", "lib/module.py"):
        if not (prefix / name).exists():
            (prefix / name).parent.mkdir(parents=True, exist_ok=True)
            (prefix / name).write_text("x")
    source = f"""
for name in {[*secrets, "home/venv/module.py", "lib/module.py"]!r}:
    try: print("READ" if open({str(prefix)!r} + "/" + name).read() else "HIDDEN", name, flush=True)
    except OSError: print("HIDDEN", name, flush=True)
{GOOD}"""
    options = ["--data", prefix / "data", "--solution", prefix / "solution.csv", "--out", prefix / "runs"]
    done = subprocess.run(
        [sys.executable, "-c", SYSTEM_FOLDER, prefix, "run", code_submission(source), *options, "--backend", backend],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(prefix / "home"), "KAGGLE_CONFIG_DIR": str(prefix / "kaggle")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    lines = [line.removeprefix("| ") for line in done.stdout.splitlines()]
    seen = [line for line in lines if line.startswith(("READ", "HIDDEN"))]
    assert seen == [*(f"HIDDEN {name}" for name in secrets), "READ home/venv/module.py", "READ lib/module.py"]
    limits = run_report.load(max((prefix / "runs").glob("2*"))).enforcement
    assert {limit.limit: limit.status for limit in limits}["hidden_files"] == "enforced"


def test_output_folder_that_is_a_system_folder_is_refused(code_submission, tmp_path):
    command = [sys.executable, "-c", SYSTEM_FOLDER, tmp_path, "run", code_submission(GOOD), "--out", tmp_path]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "which a submission may read" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ('{"cells": [], "metadata": {"kernelspec": {"name": "ir", "language": "R"}}}', SandboxError, "a notebook in R"),
        ("[]", SubmissionError, "mine.ipynb is not a notebook"),
        ("{", SubmissionError, "mine.ipynb is not a notebook: JSONDecodeError"),
        ('{"metadata": {}}', SubmissionError, "mine.ipynb is not a notebook: KeyError: 'worksheets'"),
    ],
)
def test_notebook_that_cannot_be_run_is_refused_before_the_run(run, tmp_path, content, error, message):
    (tmp_path / "mine.ipynb").write_text(content)
    with pytest.raises(error, match=message):
        run(tmp_path / "mine.ipynb")
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(("where", "error"), [("submission", SubmissionError), ("data", DataError)])
def test_file_name_that_is_not_utf8_is_refused_before_the_run(run, code_submission, tmp_path, where, error):
    folder, videos = code_submission(GOOD), tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").touch()
    ({"submission": folder, "data": videos}[where] / os.fsdecode(b"b\xff.mp4")).touch()
    with pytest.raises(error, match=r"b\\udcff\.mp4 contains bytes that are not UTF-8"):
        run(folder, data=videos)
    assert not (tmp_path / "runs").exists()
