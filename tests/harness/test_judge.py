"""Verdicts, each brought about by a real program: why it failed, and what to do; and judging a finished run again."""

import json
import shutil
from pathlib import Path

import pytest
from msgspec import structs

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.errors import DataError
from dfdc_kit.harness.judge import judge, rejudge
from dfdc_kit.harness.stage import Staged
from dfdc_kit.report.run_report import Scoring, load
from dfdc_kit.report.verdicts import Verdict
from dfdc_kit.sandbox import enforcement, process, supervise
from dfdc_kit.submission.code import read_code_submission

GOOD = (Path(__file__).parent / "programs" / "good.py").read_text()
CASES = Path(__file__).parents[1] / "cases" / "reports"
SOURCES = {"good": GOOD, "nan": GOOD + "write('nan')", "raises": "raise RuntimeError('x')"}
HANDLED = "import sys, traceback\ntry:\n    open('model.pt')\nexcept OSError:\n    traceback.print_exc()\n"


@pytest.mark.parametrize(
    ("source", "verdict", "why"),
    [
        ("raise RuntimeError('no such model')", Verdict.EXCEPTION, "no such model"),
        ("import sys; sys.exit(3)", Verdict.EXCEPTION, "Exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", Verdict.EXCEPTION, "SIGSEGV"),
        ("print('done')", Verdict.NO_CSV, "Exited 0 without writing submission.csv."),
        (GOOD + "names.pop(); write()", Verdict.SCORING_ERROR, "1 of the 16 expected rows"),
        (GOOD + "write('nan')", Verdict.SCORING_ERROR, ""),
        (GOOD + "write('1.5')", Verdict.SCORING_ERROR, ""),
        (
            GOOD + "os.remove('submission.csv'); os.symlink('/etc/passwd', 'submission.csv')",
            Verdict.SCORING_ERROR,
            "submission.csv is not a readable regular file.",
        ),
        (
            GOOD + "os.remove('submission.csv'); os.mkfifo('submission.csv')",
            Verdict.SCORING_ERROR,
            "not a regular file",
        ),
        (GOOD + "os.remove('submission.csv'); os.mkdir('submission.csv')", Verdict.SCORING_ERROR, "not a regular file"),
        (GOOD + "open('submission.csv', 'wb').truncate(2 << 30)", Verdict.SCORING_ERROR, "larger than"),
    ],
    ids=[
        "raises",
        "exits-3",
        "segfault",
        "no-csv",
        "row-missing",
        "nan",
        "above-1",
        "link",
        "fifo",
        "folder",
        "sparse",
    ],
)
def test_fault_of_the_submission_has_its_verdict_a_reason_and_no_score(run, source, verdict, why):
    report = run(source)
    assert report.judgement.verdict is verdict
    assert why in report.judgement.why
    assert report.score is None


def test_time_limit_is_a_timeout_that_names_progress_and_the_needed_speed(run):
    """Two videos are read in time; the third is open when the run is stopped."""
    source = GOOD + "import time\nfor name, s in zip(names, (0.5, 0.1, 60)):\n    with opened(name): time.sleep(s)\n"
    report = run(source, wall_time_s=5.0)
    first, _, third = (read.name for read in report.observation.reads)
    assert report.judgement.kaggle == "Notebook Timeout"
    assert report.observation.reads[-1].closed_s is None
    assert f"2 of 16 videos had been read; last opened: {third}." in report.judgement.why
    assert f"Slowest: {first} " in report.judgement.fix
    assert f"Open when it was stopped: {third}." in report.judgement.fix
    assert "8.0 times as fast to finish 16 videos in time: for example 4 frames per video instead of 32" in (
        report.judgement.fix
    )


def test_time_limit_before_the_first_video_says_so(run):
    report = run("import time; time.sleep(60)", wall_time_s=0.5)
    assert report.judgement.verdict is Verdict.TIMEOUT
    assert "No video was opened" in report.judgement.fix


def test_memory_limit_is_exceeded_compute(run):
    report = run("x = bytearray(300 << 20)\nimport time; time.sleep(30)", memory_bytes=100 << 20)
    assert report.judgement.kaggle == "Notebook Exceeded Allowed Compute"
    assert "the limit is 0.10 GiB" in report.judgement.why


def test_process_limit_is_exceeded_compute(run):
    """Bounded by itself, too: at most 300 children, for at most ten seconds."""
    source = "import os, time\nfor _ in range(300):\n    if os.fork() == 0: time.sleep(10); os._exit(0)\ntime.sleep(10)"
    report = run(source, processes=100)
    assert report.judgement.verdict is Verdict.COMPUTE
    assert "Ran more than 100 processes" in report.judgement.why


@pytest.mark.parametrize(
    ("source", "why", "fix"),
    [
        (
            "raise RuntimeError('Error(s) in loading:\\n\\tMissing key(s): w.\\n\\tUnexpected key(s): v.')",
            "RuntimeError: Error(s) in loading: Missing key(s): w. Unexpected key(s): v. No",
            "The traceback is at the end of log.txt.",
        ),
        (
            "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('w') from e",
            "KeyError: 'w'. No video",
            "The traceback is at the end of log.txt.",
        ),
        (
            "import sys\nprint('bye')\nsys.exit(3)",
            "Exit code 3. bye.",
            "No traceback; see the end of log.txt.",
        ),
        (
            HANDLED + "sys.exit('no model found')",
            "Last output: no model found.",
            "See the end of log.txt: the traceback, and the output after it.",
        ),
    ],
    ids=["several-lines", "chained", "no-traceback", "handled-before"],
)
def test_exit_with_an_error_names_exception_and_last_output(run, source, why, fix):
    judgement = run(source).judgement
    assert why in judgement.why
    assert judgement.fix == fix


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
@pytest.mark.parametrize("ends", ["os._exit(137)", "os.kill(os.getpid(), 9)"])
def test_sigkill_with_little_memory_used_is_not_blamed_on_memory(run, backend, ends):
    """137 is 128 + SIGKILL: the kernel's answer to too much memory, or the program's own choice."""
    judgement = run(f"import os\n{ends}", backend=backend, memory_bytes=400 << 20).judgement
    assert "137" in judgement.why
    assert judgement.fix.startswith("Killed from inside, or exited with 137 itself. Peak memory: ")
    assert judgement.fix.endswith("probably not the reason.")


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_sigkill_with_much_memory_used_names_memory_as_possible_reason(run, backend):
    source = "import os, time\nx = b'x' * (250 << 20)\ntime.sleep(2.5)\nos._exit(137)"
    assert run(source, backend=backend, memory_bytes=400 << 20).judgement.fix.startswith("Possibly out of memory.")


@pytest.mark.parametrize("name", ["only.py", "only.ipynb"])
def test_module_beside_a_single_file_is_named_with_the_way_to_submit_both(run, tmp_path, name):
    (tmp_path / "beside.py").write_text("answer = 0.5")
    cell = {"cell_type": "code", "metadata": {}, "source": "import beside", "outputs": [], "execution_count": None}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    (tmp_path / name).write_text(json.dumps(notebook) if name.endswith("ipynb") else "import beside")
    judgement = run(tmp_path / name).judgement
    assert "No module named 'beside'" in judgement.why
    assert "submit the whole folder, with a submission.toml" in judgement.fix


def test_changed_input_is_found_after_staging_and_named_by_the_judge(tmp_path, sample, code_submission):
    """No program can change the input where it is mounted read-only: this changes the stage itself."""
    challenge = challenges.load()
    saved = load(Path(__file__).parents[1] / "cases" / "reports" / "schema-4-complete.json")
    with Staged(tmp_path / "stage", challenge) as staged:
        submission = read_code_submission(code_submission("pass\n"))
        staged.fill(submission, find_dataset(sample, challenge), b"", lambda done, total: None, can_mount=False)
        assert staged.changed_input() == []
        video = min(staged.videos.iterdir())
        video.chmod(0o644)
        video.write_bytes(b"gone")
        changed = staged.changed_input()
    assert changed == [f"{challenge.slug}/{challenge.data.test_videos}/{video.name}"]
    observation = structs.replace(saved.observation, changed_input=changed)
    judgement = judge(observation, Scoring(score=saved.score), saved.challenge, saved.profile)
    assert "Input files were changed" in judgement.why


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


def test_edited_verdict_is_reported_as_a_difference(run, run_folder, dfdc):
    run("raise RuntimeError('x')")
    path = run_folder() / "run.json"
    path.write_text(path.read_text().replace('"verdict": "exception"', '"verdict": "complete"'))
    for command in ("rejudge", "judge-again"):  # its old name is a hidden alias
        done = dfdc(command, path.parent)
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


@pytest.mark.parametrize(
    ("lines", "fix"),
    [
        (["main.py: error: the following arguments are required: --weights"], 'entry_point = "PROGRAM.py --weights'),
        (["x: error: unrecognized arguments: -f /tmp/kernel.json", "SystemExit: 2"], "parse_args([])"),
        (["OSError: [Errno 30] Read-only file system: 'submission.csv'"], "write to /kaggle/working"),
        (["OSError: [Errno 30] Read-only file system: '/kaggle/src/a.csv'"], "write to /kaggle/working"),
        (["PermissionError: [Errno 13] Permission denied: '/x/stage/kaggle/src/a.csv'"], "write to /kaggle/working"),
        (["SyntaxError: Non-UTF-8 code starting with '\\xe9' in file main.py on line 1"], "as UTF-8"),
    ],
)
def test_fix_fits_the_error_at_the_end_of_the_log(lines, fix):
    saved = load(Path(__file__).parents[1] / "cases" / "reports" / "schema-3-exception.json")
    seen = structs.replace(saved.observation, last_output=["Traceback (most recent call last):", *lines])
    judgement = judge(seen, saved.scoring, challenges.load(), profiles.load())
    assert judgement.verdict is Verdict.EXCEPTION
    assert fix in judgement.fix


@pytest.mark.parametrize(
    ("last_line", "hidden", "rejection"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: '/kaggle/input/x/a'", "x/a", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/kaggle/working/a'", "/kaggle/working/a", ""),
        ("AttributeError: 'NoneType' object has no attribute 'shape'", "x/a", ""),  # cv2 raised nothing
        ("", "x/a", "rows are missing"),
    ],
)
def test_verdict_is_not_reproducible_when_the_sandbox_cannot_show_a_path(last_line, hidden, rejection):
    saved = load(CASES / ("schema-4-complete.json" if rejection else "schema-3-exception.json"))
    output = ["Traceback (most recent call last):", last_line] if last_line else []
    scoring = structs.replace(saved.scoring, rejection=rejection)
    seen = structs.replace(saved.observation, last_output=output, hidden_inputs=[hidden], reads=[])
    judgement = judge(seen, scoring, challenges.load(), profiles.load())
    assert judgement.verdict is Verdict.NOT_REPRODUCIBLE
    assert f"{hidden}" in judgement.why
    seen = structs.replace(seen, hidden_inputs=[])
    assert judge(seen, scoring, challenges.load(), profiles.load()).verdict is not Verdict.NOT_REPRODUCIBLE


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("open('/kaggle/working/submission.csv', 'w')", "cannot show /kaggle/working/submission.csv"),
        ("import glob; f = glob.glob('/kaggle/input/*/test_videos'); open('submission.csv', 'w')", "cannot show"),
    ],
)
def test_paths_of_kaggle_are_not_blamed_on_a_program_without_namespaces(run, source, why, monkeypatch):
    real = enforcement.why_unavailable
    for module in (process, supervise, enforcement):
        monkeypatch.setattr(module, "why_unavailable", lambda name: "off" if name == "namespaces" else real(name))
    judgement = run(source, backend="process").judgement
    assert (judgement.verdict, why in judgement.why) == (Verdict.NOT_REPRODUCIBLE, True), judgement
