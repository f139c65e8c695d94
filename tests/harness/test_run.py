"""`dfdc run` as its user meets it: every verdict is brought about by a real program."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from dfdc_kit.harness.collect import collect_fallbacks
from dfdc_kit.report import run_report

GOOD = """
import csv, os, pathlib
rows = pathlib.Path(os.environ["DFDC_INPUT_DIR"], "sample_submission.csv").read_text().split()[1:]
names = [row.split(",")[0] for row in rows]
def write(label="0.5"):
    lines = ["filename,label", *(f"{name},{label}" for name in names)]
    pathlib.Path("submission.csv").write_text("\\n".join(lines) + "\\n")
write()
"""

SOURCES = {"good": GOOD, "nan": GOOD + "write('nan')", "raises": "raise RuntimeError('x')"}


@pytest.fixture
def run(dfdc, code_submission, tmp_path):
    """Run a source under `dfdc run --json`; the finished process and its report."""

    def call(source: str, *options: object):
        done = dfdc("run", code_submission(source), "--json", *options)
        return done, json.loads(done.stdout) if done.stdout else None

    return call


def profile(tmp_path, test_videos: int | None = None, **limits) -> str:
    head = "" if test_videos is None else f"test_videos = {test_videos}\n"
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in limits.items())
    path = tmp_path / "tight.toml"
    path.write_text(f'title = "tight"\nas_of = "2026-11-24"\n{head}[limits]\n{lines}\n[hardware]\n[source]\n')
    return str(path)


def test_a_good_run(run, tmp_path):
    done, report = run(GOOD)
    assert done.returncode == 0, done.stderr
    assert report["judgement"]["verdict"] == "complete"
    assert report["score"]["displayed"] == "0.69314"
    assert set(report["score"]["parts"]) == {"Public", "Private"}
    folder = next((tmp_path / "runs").glob("*/"))
    assert sorted(path.name for path in folder.iterdir()) == ["log.txt", "report.html", "run.json", "submission.csv"]


@pytest.mark.parametrize(
    ("source", "verdict", "kaggle", "told"),
    [
        ("raise RuntimeError('no such model')", "exception", "Notebook Threw Exception", "no such model"),
        ("import sys; sys.exit(3)", "exception", "Notebook Threw Exception", "Exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", "exception", "Notebook Threw Exception", "SIGSEGV"),
        ("print('done')", "csv-not-found", "Submission CSV Not Found", "without one"),
        (GOOD + "names.pop(); write()", "scoring-error", "Submission Scoring Error", "not there"),
        (GOOD + "write('nan')", "scoring-error", "Submission Scoring Error", ""),
        (GOOD + "write('1.5')", "scoring-error", "Submission Scoring Error", ""),
        (
            GOOD + "os.remove('submission.csv'); os.symlink('/etc/passwd', 'submission.csv')",
            "scoring-error",
            "Submission Scoring Error",
            "not a regular file",
        ),
        (
            GOOD + "os.remove('submission.csv'); os.mkfifo('submission.csv')",
            "scoring-error",
            None,
            "not a regular file",
        ),
        (GOOD + "os.remove('submission.csv'); os.mkdir('submission.csv')", "scoring-error", None, "not a regular file"),
        (
            GOOD + "open('submission.csv', 'wb').truncate(2 << 30)",
            "scoring-error",
            "Submission Scoring Error",
            "larger than",
        ),
    ],
    ids=[
        "raises",
        "exits-3",
        "segfault",
        "no-csv",
        "row-missing",
        "nan",
        "too-large",
        "link",
        "fifo",
        "folder",
        "sparse",
    ],
)
def test_faults_of_the_submission(run, source, verdict, kaggle, told):
    done, report = run(source)
    assert done.returncode == 1, done.stderr
    assert report["judgement"]["verdict"] == verdict
    assert kaggle is None or report["judgement"]["kaggle"] == kaggle
    assert told in report["judgement"]["why"]
    assert report["score"] is None


def test_timeout(run, tmp_path):
    done, report = run("import time; time.sleep(60)", "--profile", profile(tmp_path, wall_time_s=0.5))
    assert done.returncode == 1
    assert report["judgement"]["kaggle"] == "Notebook Timeout"


def test_memory(run, tmp_path):
    source = "x = bytearray(300 << 20)\nimport time; time.sleep(30)"
    _, report = run(source, "--profile", profile(tmp_path, memory_bytes=100 << 20))
    assert report["judgement"]["kaggle"] == "Notebook Exceeded Allowed Compute"


def test_what_a_submission_sees(run):
    """No variable of the harness's environment but the harmless ones, no labels beside the videos, Kaggle's layout."""
    source = (
        "import json, os, pathlib\n"
        "where = pathlib.Path(os.environ['DFDC_INPUT_DIR'])\n"
        "files = sorted({p.parent.name + '/' + p.suffix for p in where.rglob('*') if p.is_file()})\n"
        "print(json.dumps([dict(os.environ), str(where), files, os.getcwd(), open(0).read()]))"
    )
    os.environ["KAGGLE_API_TOKEN"] = "a-secret"
    try:
        _, report = run(source)
    finally:
        del os.environ["KAGGLE_API_TOKEN"]
    environment, where, files, cwd, stdin = json.loads(report["observation"]["last_output"][-1])
    assert "a-secret" not in json.dumps(report)
    assert environment["KAGGLE_KERNEL_RUN_TYPE"] == "Batch"
    assert environment["KAGGLE_IS_COMPETITION_RERUN"] == "1"
    assert set(environment) <= {
        *(
            "PATH",
            "PWD",
            "HOME",
            "TMPDIR",
            "PYTHONUNBUFFERED",
            "PYTHONDONTWRITEBYTECODE",
            "LANG",
            "LC_ALL",
            "LC_CTYPE",
            "TZ",
        ),
        *("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_IS_COMPETITION_RERUN", "DFDC_INPUT_DIR"),
        *("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"),
    }
    assert where.endswith("/kaggle/input/deepfake-detection-challenge")
    assert files == ["deepfake-detection-challenge/.csv", "test_videos/.mp4"]
    assert cwd.endswith("/kaggle/working")
    assert stdin == ""


def test_videos_are_watched(run):
    source = GOOD + (
        "import time\n"
        "folder = pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'test_videos')\n"
        "for name in names[:3]:\n"
        "    with open(folder / name, 'rb') as file: file.read(); time.sleep(0.2)\n"
    )
    _, report = run(source)
    reads = report["observation"]["reads"]
    assert [read["name"] for read in reads] == sorted(read["name"] for read in reads)
    assert len(reads) == 3
    assert all(0.15 < read["closed_s"] - read["opened_s"] < 5 for read in reads)


def test_the_video_it_hung_on_is_named(run, tmp_path):
    source = GOOD + (
        "import time\n"
        "file = open(pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'test_videos', names[4]), 'rb')\n"
        "time.sleep(60)"
    )
    _, report = run(source, "--profile", profile(tmp_path, wall_time_s=4.0))
    name = report["observation"]["reads"][0]["name"]
    assert report["observation"]["reads"][0]["closed_s"] is None
    assert name in report["judgement"]["fix"]


def test_a_changed_input_is_told_and_the_original_is_safe(run, sample):
    before = {path.name: path.read_bytes() for path in (sample / "test_videos").iterdir()}
    source = GOOD + (
        "path = pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'test_videos', names[0])\n"
        "os.chmod(path, 0o644); path.write_bytes(b'gone')\n"
    )
    _, report = run(source, "--backend", "process")
    assert len(report["observation"]["changed_input"]) == 1
    assert {path.name: path.read_bytes() for path in (sample / "test_videos").iterdir()} == before


def test_a_missing_package_is_to_be_installed(run):
    _, report = run("import no_such_package_of_anybody")
    assert "no_such_package_of_anybody" in report["judgement"]["why"]
    assert "Install that package" in report["judgement"]["fix"]


@pytest.mark.parametrize(("fallbacks", "cautioned"), [(0, False), (1, False), (2, True), (20, True)])
def test_only_many_fallbacks_are_cautioned(fallbacks, cautioned, tmp_path):
    names = [f"{number}.mp4" for number in range(20)]
    (tmp_path / "said.csv").write_text("filename,reason\n" + "".join(f"{name},dark\n" for name in names[:fallbacks]))
    found = collect_fallbacks(tmp_path / "said.csv", tmp_path / "kept.csv", set(names))
    assert (found.count, bool(found.caution)) == (fallbacks, cautioned)


def test_the_summary_cautions_too(dfdc, code_submission):
    source = GOOD + "pathlib.Path('fallbacks.csv').write_text('filename,reason\\n' + names[0] + ',dark\\n')"
    done = dfdc("run", code_submission(source))
    assert "1 of 16 videos got a prior" in done.stdout
    assert "fallbacks on 6% of the videos, more than 5%" in done.stdout


def test_fallbacks_are_counted(run):
    source = GOOD + (
        "rows = ['filename,reason', names[0] + ',unreadable', names[1] + ',no-face']\n"
        "pathlib.Path('fallbacks.csv').write_text('\\n'.join(rows))"
    )
    _, report = run(source)
    assert report["observation"]["fallbacks"]["count"] == 2
    assert report["observation"]["fallbacks"]["by_reason"] == {"unreadable": 1, "no-face": 1}
    assert "12% of the videos, more than 5%" in report["observation"]["fallbacks"]["caution"]


def test_a_rejected_side_file_counts_nowhere(run, tmp_path):
    """One row too many, and none of its rows are in the ledger; nor is the file kept as if it had been taken."""
    source = GOOD + "rows = ['filename,reason', names[0] + ',dark', 'other.mp4,dark']\n"
    _, report = run(source + "pathlib.Path('fallbacks.csv').write_text('\\n'.join(rows))")
    assert "1 of its rows" in report["observation"]["fallbacks"]["error"]
    assert "'other.mp4,dark'" in report["observation"]["fallbacks"]["error"]
    assert "fallbacks" not in [entry["what"] for entry in report["loss_breakdown"]["entries"]]
    assert not list((tmp_path / "runs").glob("*/fallbacks.csv"))


def test_nonsense_in_the_side_file_is_told_and_harmless(run):
    done, report = run(GOOD + "open('fallbacks.csv', 'wb').write(b'\\xff\\x00,\\x1b[2J\\n')")
    assert done.returncode == 0
    assert "header" in report["observation"]["fallbacks"]["error"]


def test_fake_verdicts_and_escape_codes_stay_output(dfdc, code_submission):
    source = "print('\\x1b[2J\\x1b[31mscore 0.00001 complete [bold]x[/bold] [/nonsense]\\xff')\nraise SystemExit(1)"
    done = dfdc("run", code_submission(source))
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "| \\x1b[2J" in done.stdout
    assert "[bold]x[/bold] [/nonsense]" in done.stdout
    assert "exception (Kaggle: Notebook Threw Exception)" in done.stdout


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_judging_again_gives_the_same(run, dfdc, tmp_path, source):
    _, report = run(source)
    done = dfdc("rejudge", next((tmp_path / "runs").glob("*/")), "--json")
    assert done.returncode == 0, done.stderr
    second = json.loads(done.stdout)
    assert second["differences"] == []
    assert (second["judgement"], second["score"]) == (report["judgement"], report["score"])


def test_a_changed_run_is_not_judged_again(run, dfdc, tmp_path):
    run(GOOD)
    csv = next((tmp_path / "runs").glob("*/submission.csv"))
    csv.write_text(csv.read_text().replace("0.5", "0.6"))
    done = dfdc("rejudge", csv.parent)
    assert done.returncode == 3
    assert "submission.csv is not the file that was judged" in done.stderr


def test_a_judgement_edited_in_the_report_comes_out_differently(run, dfdc, tmp_path):
    run("raise RuntimeError('x')")
    path = next((tmp_path / "runs").glob("*/run.json"))
    path.write_text(path.read_text().replace('"verdict": "exception"', '"verdict": "complete"'))
    done = dfdc("rejudge", path.parent)
    assert done.returncode == 1
    assert "DIFFERENT: judgement" in done.stdout


def test_truth_that_lacks_rows_is_the_hosts_fault(dfdc, code_submission, tmp_path):
    """Found before the run starts: exit 3, and no run folder."""
    (tmp_path / "truth.csv").write_text("filename,label\na.mp4,1\n")
    done = dfdc("run", code_submission(GOOD), "--solution", tmp_path / "truth.csv")
    assert done.returncode == 3
    assert "truth.csv" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_plain_folder_of_labelled_videos(run, sample):
    done, report = run(GOOD, "--data", sample / "train_sample_videos")
    assert done.returncode == 0, done.stderr
    assert report["score"]["displayed"] == "0.69314"
    assert report["solution"].endswith("metadata.json")


@pytest.mark.parametrize(("wrong", "code"), [("no-such-folder", 2), ("file", 1)])
def test_no_submission_there(dfdc, tmp_path, wrong, code):
    (tmp_path / "file").write_text("x")
    done = dfdc("run", tmp_path / wrong)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr


@pytest.mark.parametrize(
    ("key", "value"), [("wall_time_s", "nan"), ("wall_time_s", "inf"), ("wall_time_s", "-5.0"), ("cpu_cores", "0")]
)
def test_limits_that_are_none(dfdc, code_submission, tmp_path, key, value):
    path = tmp_path / "odd.toml"
    path.write_text(f'title = "odd"\nas_of = "2026-11-26"\n[limits]\n{key} = {value}\n[hardware]\n[source]\n')
    done = dfdc("run", code_submission(GOOD), "--profile", path)
    assert done.returncode == 3
    assert f"$.limits.{key}" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("limit", ["0", "-5", "nan", "inf"])
def test_a_rehearsal_needs_a_limit_above_zero(dfdc, code_submission, limit):
    done = dfdc("rehearse", code_submission(GOOD), "--limit", limit)
    assert done.returncode == 2
    assert f"--limit {limit}: a number of seconds above 0 is needed." in done.stderr


def test_unknown_profile(dfdc, code_submission):
    done = dfdc("run", code_submission(GOOD), "--profile", "kaggle-2021")
    assert done.returncode == 2
    assert "kaggle-2020-gpu" in done.stderr


def test_output_folder_that_is_a_file(dfdc, code_submission, tmp_path):
    (tmp_path / "runs").write_text("in the way")
    done = dfdc("run", code_submission(GOOD))
    assert done.returncode == 4
    assert "--out" in done.stderr


def test_ctrl_c_leaves_a_report_and_no_process(code_submission, tmp_path):
    folder = code_submission("import time\nprint('up', flush=True)\ntime.sleep(60)")
    command = [sys.executable, "-m", "dfdc_kit", "run", folder]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "up" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    assert process.returncode == 130
    assert "interrupted" in said
    run_folder = next((tmp_path / "runs").glob("*/"))
    assert sorted(path.name for path in run_folder.iterdir()) == ["log.txt", "report.html", "run.json"]
    assert run_report.load(run_folder).judgement.verdict.value == "interrupted"
    time.sleep(0.1)
    assert not [line for line in subprocess.getoutput("ps -eo args").splitlines() if str(run_folder) in line]


def notebook(path, *cells: str) -> None:
    """A notebook of these code cells, as Jupyter writes it."""
    code = [{"cell_type": "code", "metadata": {}, "source": c, "outputs": [], "execution_count": None} for c in cells]
    path.write_text(json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_a_notebook_imports_what_lies_beside_it(dfdc, tmp_path, backend):
    """And what does is not taken for a module of the runner's."""
    folder = tmp_path / "several"
    folder.mkdir()
    (folder / "submission.toml").write_text('name = "several"\nentry_point = "main.ipynb"\n')
    (folder / "common.py").write_text("VALUE = 0.5\n")
    (folder / "traitlets.py").write_text("raise RuntimeError('mine, and not what the runner wants')\n")
    notebook(folder / "main.ipynb", "import common", GOOD, "write(common.VALUE)")
    done = dfdc("run", folder, "--backend", backend, "--json")
    assert done.returncode == 1  # its kernel is its own: there traitlets is the submission's
    (folder / "traitlets.py").rename(folder / "nbformat.py")
    done = dfdc("run", folder, "--backend", backend, "--json")
    assert done.returncode == 0, json.loads(done.stdout)["observation"]["last_output"]


@pytest.mark.parametrize("inside", ["data", "truth", "out"])
def test_labels_in_the_submissions_own_folder_are_not_handed_over(dfdc, code_submission, sample, inside):
    folder = code_submission(GOOD)
    shutil.copytree(sample, folder / "data" if inside == "data" else folder.parent / "data")
    shutil.copy(sample / "solution/solution.csv", folder / "truth.csv")
    options = {
        "data": ["--data", folder / "data"],
        "truth": ["--solution", folder / "truth.csv"],
        "out": ["--out", folder / "results"],
    }
    done = dfdc("run", folder, *options[inside])
    assert done.returncode == 2, done.stdout
    assert "would be handed to it" in " ".join(done.stderr.split())
    assert dfdc("run", folder, "--out", folder / "runs").returncode == 0


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
@pytest.mark.parametrize("closed", ["input", "..", "../..", "../../.."])
def test_a_run_that_closes_its_folders_leaves_a_report_and_no_stage(run, tmp_path, backend, closed):
    place = "os.environ['DFDC_INPUT_DIR']" if closed == "input" else repr(closed)
    source = f"{GOOD}\nimport contextlib\nwith contextlib.suppress(OSError): os.chmod({place}, 0)\n"
    _, report = run(source, "--backend", backend)
    assert report["judgement"]["verdict"] in ("complete", "scoring-error", "exceeded-compute")
    assert not list((tmp_path / "runs").glob("*/stage"))


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_a_notebook(dfdc, tmp_path, backend):
    """Every cell runs in order, in one process; what the cells print is shown."""
    notebook(tmp_path / "mine.ipynb", GOOD, "print('from cell two', len(names))")
    done = dfdc("run", tmp_path / "mine.ipynb", "--backend", backend)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| from cell two 16" in done.stdout
    assert "0.69314" in done.stdout


def test_a_failing_cell_is_shown(dfdc, tmp_path):
    notebook(tmp_path / "mine.ipynb", "x = 1", "print(y_is_not_there)", "print('never')")
    done = dfdc("run", tmp_path / "mine.ipynb", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["judgement"]["kaggle"] == "Notebook Threw Exception"
    log = next((tmp_path / "runs").glob("*/log.txt")).read_text()
    assert "code cell 2 failed" in log
    assert "print(y_is_not_there)" in log
    assert "never" not in log
    assert "NameError" in report["judgement"]["why"]


def test_a_single_file_brings_nothing_else(dfdc, tmp_path):
    (tmp_path / "beside.txt").write_text("not mine")
    (tmp_path / "only.py").write_text(GOOD + "print(sorted(p.name for p in pathlib.Path(__file__).parent.iterdir()))")
    done = dfdc("run", tmp_path / "only.py")
    assert done.returncode == 0, done.stderr
    assert "['only.py']" in done.stdout


def test_what_defaults_cost_is_in_the_ledger(run):
    """Two fallback rows that are wrong, and one value repeated in all others."""
    source = GOOD + (
        "rows = [f'{name},0.4' for name in names[2:]] + [f'{name},0.999' for name in names[:2]]\n"
        "pathlib.Path('submission.csv').write_text('\\n'.join(['filename,label', *rows]))\n"
        "pathlib.Path('fallbacks.csv').write_text('\\n'.join(['filename,reason', *(f'{n},dark' for n in names[:2])]))\n"
    )
    _, report = run(source)
    fallbacks, repeated = report["loss_breakdown"]["entries"]
    assert (fallbacks["what"], fallbacks["rows"], repeated["rows"]) == ("fallbacks", 2, 14)
    assert fallbacks["share"] + repeated["share"] == pytest.approx(1)
    assert report["loss_breakdown"]["mean_loss"] == pytest.approx(report["score"]["value"])


def test_how_busy_the_machine_was(run):
    """Two processes that do nothing of the run's take their share of the cores, and are not taken for the run's."""
    spin = [sys.executable, "-c", "import time\nend = time.monotonic() + 300\nwhile time.monotonic() < end: pass"]
    others = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]
    try:
        _, report = run(GOOD + "import time; time.sleep(2)")
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert report["observation"]["noise"]["other_programs_share"] > 0.5, report["observation"]
    assert report["observation"]["noise"]["probes"] > 0


def test_stop_early_ends_a_run_that_cannot_fit(dfdc, code_submission, tmp_path, sample):
    """64 videos of 0.1 s each, 6.4 s in all: but 40,000 of them take more than an hour, and a minute is allowed."""
    videos = tmp_path / "many"
    videos.mkdir()
    clip = min((sample / "test_videos").glob("*.mp4"), key=lambda path: path.stat().st_size)
    for i in range(64):
        shutil.copy(clip, videos / f"{i:02}.mp4")
    source = GOOD + (
        "import time\n"
        "for name in names:\n"
        "    with open(pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'test_videos', name), 'rb'): time.sleep(0.1)\n"
    )
    tight = profile(tmp_path, wall_time_s=60.0, test_videos=40_000)
    command = ["run", code_submission(source), "--json", "--profile", tight, "--data", videos]
    assert json.loads(dfdc(*command).stdout)["judgement"]["verdict"] == "complete"
    done = dfdc(*command, "--stop-early")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["judgement"]["verdict"] == "timeout"
    assert "40,000 take at least" in report["judgement"]["why"]
    assert report["observation"]["outcome"]["ending"] == "early-stop"
    assert 30 <= len(report["observation"]["reads"]) < 64
    assert report["forecast"]["videos_measured"] >= 30


def test_a_time_out_says_how_far_it_got(run, tmp_path):
    """Two videos in time, the third open when it was stopped, and by how much it was too slow."""
    source = GOOD + (
        "import time\n"
        "for name, pause in zip(names, (0.5, 0.1, 60)):\n"
        "    with open(pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'test_videos', name), 'rb'): time.sleep(pause)\n"
    )
    _, report = run(source, "--profile", profile(tmp_path, wall_time_s=5.0))
    first, _, third = (read["name"] for read in report["observation"]["reads"])
    assert "2 of 16 videos had been read" in report["judgement"]["why"]
    assert f"Slowest: {first} " in report["judgement"]["fix"]
    assert f"Open when it was stopped: {third}." in report["judgement"]["fix"]
    assert "8.0 times as fast: for example 4 frames a video in place of 32" in report["judgement"]["fix"]


def test_what_an_unfinished_file_would_have_scored(run, tmp_path):
    """Rows written one by one until the time ran out; the rest takes the prior."""
    source = GOOD + (
        "import time\n"
        "file = open('submission.csv', 'w')\n"
        "print('filename,label', *(f'{name},0.5' for name in names[:7]), sep='\\n', file=file, flush=True)\n"
        "time.sleep(60)\n"
    )
    _, report = run(source, "--profile", profile(tmp_path, wall_time_s=4.0))
    assert report["judgement"]["verdict"] == "timeout"
    assert report["score"] is None
    assert report["partial_score"] == {
        "rows_written": 7,
        "fill_value": 0.5,
        "value": 0.6931471805599453,
        "displayed": "0.69314",
    }


def test_a_limit_that_is_required_and_not_kept_refuses_the_run(dfdc, code_submission, tmp_path):
    """On this machine or another: either a backend keeps it, or nothing runs; a name that is none is wrong usage."""
    folder = code_submission(GOOD)
    kept = dfdc("run", folder, "--require", "wall_time,descendants")
    assert kept.returncode == 0, kept.stderr
    unknown = dfdc("run", folder, "--require", "netwrk")
    assert unknown.returncode == 2
    assert "Did you mean 'network'?" in unknown.stderr
    unlimited = dfdc("run", folder, "--profile", "unlimited", "--require", "memory", "--out", tmp_path / "none")
    assert unlimited.returncode == 2
    assert not (tmp_path / "none").exists()


def test_too_many_processes(run, tmp_path):
    """Bounded by itself, too: at most 300 children, for at most ten seconds."""
    source = "import os, time\nfor _ in range(300):\n    if os.fork() == 0: time.sleep(10); os._exit(0)\ntime.sleep(10)"
    _, report = run(source, "--profile", profile(tmp_path, processes=100))
    assert report["judgement"]["verdict"] == "exceeded-compute"
    assert "100 processes" in report["judgement"]["why"]


@pytest.mark.parametrize("leak_bytes", [4 << 20, 0], ids=["leaks", "flat"])
def test_a_leak_is_seen_from_outside(run, tmp_path, leak_bytes):
    """Memory that grows with each video is told from memory that does not."""
    source = GOOD + (
        "import time\n"
        "kept = []\n"
        "for name in names:\n"
        "    with open(pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'test_videos', name), 'rb'): time.sleep(0.35)\n"
        f"    kept.append(b'x' * {leak_bytes})\n"
    )
    run(source, "--backend", "process")  # one process: sampled ten times a second, else once
    growth = run_report.load(next((tmp_path / "runs").glob("*/"))).memory_growth
    assert growth is not None
    assert growth.leaks == (leak_bytes > 0)
    if leak_bytes:
        assert growth.low_bytes <= 1.5 * leak_bytes
        assert growth.high_bytes >= 0.5 * leak_bytes


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "raise RuntimeError('Error(s) in loading:\\n\\tMissing key(s): w.\\n\\tUnexpected key(s): v.')",
            "RuntimeError: Error(s) in loading: Missing key(s): w. Unexpected key(s): v. No",
        ),
        ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('w') from e", "KeyError: 'w'. No video"),
        ("import sys\nprint('bye')\nsys.exit(3)", "Exit code 3. bye."),
    ],
)
def test_an_error_of_several_lines_is_told_whole(run, source, said):
    _, report = run(source)
    assert said in report["judgement"]["why"]
    assert ("traceback stands" in report["judgement"]["fix"]) is ("raise" in source)


def test_linked_folders_and_names_that_need_quotes(run, code_submission, dfdc, tmp_path, sample):
    """What a link inside the folder points to travels along; a sample submission that we make is proper CSV."""
    data = tmp_path / "data"
    data.mkdir()
    clip = next((sample / "test_videos").glob("*.mp4"))
    for name in ("a,b.mp4", 'q"uote.MP4'):
        shutil.copy(clip, data / name)
    source = (
        "import csv, os, pathlib\n"
        "value = (pathlib.Path(__file__).parent / 'linked/w.txt').read_text()\n"
        "folder = pathlib.Path(os.environ['DFDC_INPUT_DIR'])\n"
        "rows = list(csv.DictReader((folder / 'sample_submission.csv').open()))\n"
        "assert all((folder / 'test_videos' / row['filename']).is_file() for row in rows)\n"
        "table = csv.writer(open('submission.csv', 'w', newline=''))\n"
        "table.writerows([('filename', 'label'), *((row['filename'], value) for row in rows)])\n"
    )
    folder = code_submission(source)
    (folder / "weights").mkdir()
    (folder / "weights" / "w.txt").write_text("0.5")
    (folder / "linked").symlink_to("weights")
    done = dfdc("run", folder, "--data", data, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["rows"] == 2


SHOWN = """import sys
from dfdc_kit.sandbox import visible_paths
visible_paths.SYSTEM = (*visible_paths.SYSTEM, sys.argv.pop(1))
sys.exec_prefix = visible_paths.SYSTEM[-1] + "/home/venv"
from dfdc_kit.cli import main
main()
"""  # as a folder of the system's, with an environment of Python in a home below it


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_what_lies_below_a_folder_of_programs_is_hidden_all_the_same(code_submission, sample, tmp_path, backend):
    """Programs and libraries are shown to a submission; labels, runs, home and credentials may lie below them."""
    prefix = tmp_path / "prefix"
    shutil.copytree(sample, prefix / "data")
    shutil.copy(sample / "solution/solution.csv", prefix / "truth.csv")
    secrets = ["data/solution/solution.csv", "truth.csv", "runs/earlier/run.json", "home/note", "kaggle/kaggle.json"]
    for name in (*secrets, "home/venv/module.py", "lib/module.py"):
        if not (prefix / name).exists():
            (prefix / name).parent.mkdir(parents=True, exist_ok=True)
            (prefix / name).write_text("x")
    source = f"""
for name in {[*secrets, "home/venv/module.py", "lib/module.py"]!r}:
    try: print("READ" if open({str(prefix)!r} + "/" + name).read() else "held", name, flush=True)
    except OSError: print("held", name, flush=True)
{GOOD}"""
    options = ["--data", prefix / "data", "--solution", prefix / "truth.csv", "--out", prefix / "runs"]
    done = subprocess.run(
        [sys.executable, "-c", SHOWN, prefix, "run", code_submission(source), *options, "--backend", backend],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(prefix / "home"), "KAGGLE_CONFIG_DIR": str(prefix / "kaggle")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    said = [line.removeprefix("| ") for line in done.stdout.splitlines() if line.startswith(("| READ", "| held"))]
    assert said == [*(f"held {name}" for name in secrets), "READ home/venv/module.py", "READ lib/module.py"]
    claims = run_report.load(max((prefix / "runs").glob("2*"))).enforcement
    assert {claim.limit: claim.status for claim in claims}["hidden_files"] == "enforced"


def test_runs_cannot_lie_among_programs(code_submission, tmp_path):
    command = [sys.executable, "-c", SHOWN, tmp_path, "run", code_submission(GOOD), "--out", tmp_path]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "which a submission may read" in " ".join(done.stderr.split())
