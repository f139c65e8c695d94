"""A run from its request to its files: what the submission sees, what is observed, what is left."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dfdc_kit.report import history, run_report
from dfdc_kit.report.verdicts import Verdict

BACKENDS = ["bubblewrap", "process"]
GOOD = (Path(__file__).parent / "programs" / "good.py").read_text()


def test_good_run_is_scored_and_leaves_report_page_log_csv_and_a_history_row(run, run_folder, tmp_path):
    report = run(GOOD, record=True)
    assert report.judgement.verdict is Verdict.COMPLETE
    assert report.score.displayed == "0.69314"
    assert set(report.score.parts) == {"Public", "Private"}
    names = sorted(path.name for path in run_folder().iterdir())
    assert names == ["log.txt", "report.html", "run.json", "submission.csv"]
    assert run_report.load(run_folder()) == report
    assert [event.name for event in history.read(tmp_path / "runs")] == [report.run_id]


def test_run_without_record_leaves_neither_page_nor_history(run, run_folder, tmp_path):
    run(GOOD)
    assert not (run_folder() / "report.html").exists()
    assert history.read(tmp_path / "runs") == []


def test_submission_sees_kaggles_variables_and_layout_and_no_secret(run, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a-secret")
    report = run(
        "import json, os, pathlib\n"
        "where = pathlib.Path(os.environ['DFDC_INPUT_DIR'])\n"
        "files = sorted({p.parent.name + '/' + p.suffix for p in where.rglob('*') if p.is_file()})\n"
        "print(json.dumps([dict(os.environ), str(where), files, os.getcwd(), open(0).read()]))"
    )
    environment, where, files, cwd, stdin = json.loads(report.observation.last_output[-1])
    assert "a-secret" not in json.dumps(environment)
    assert environment["KAGGLE_KERNEL_RUN_TYPE"] == "Batch"
    assert environment["KAGGLE_IS_COMPETITION_RERUN"] == "1"
    assert set(environment) <= {
        *("PATH", "PWD", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH"),
        *("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "PYTHONUSERBASE"),
        *("PIP_RETRIES", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_BUILD_ISOLATION"),
        *("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_IS_COMPETITION_RERUN", "DFDC_INPUT_DIR"),
    }
    assert where.endswith("/kaggle/input/deepfake-detection-challenge")
    assert files == [
        "deepfake-detection-challenge/.csv",
        "test_videos/.mp4",
        "train_sample_videos/.json",
        "train_sample_videos/.mp4",
    ]
    assert cwd.endswith("/kaggle/working")
    assert stdin == ""


def test_reads_of_videos_are_observed_in_order_with_their_duration(run):
    report = run(GOOD + "import time\nfor name in names[:3]:\n    with opened(name) as file: time.sleep(0.2)\n")
    reads = report.observation.reads
    assert len(reads) == 3
    assert [read.name for read in reads] == sorted(read.name for read in reads)
    assert all(read.closed_s - read.opened_s > 0.15 for read in reads)


def test_input_cannot_be_changed_where_it_is_mounted_read_only(run, sample):
    before = {path.name: path.read_bytes() for path in (sample / "test_videos").iterdir()}
    source = GOOD + (
        "import contextlib\n"
        "path = folder / 'test_videos' / names[0]\n"
        "with contextlib.suppress(OSError): os.chmod(path, 0o644); path.write_bytes(b'gone')\n"
    )
    report = run(source, backend="process")
    assert report.observation.changed_input == []
    assert {path.name: path.read_bytes() for path in (sample / "test_videos").iterdir()} == before


def test_folder_of_labelled_videos_is_scored_against_its_metadata(run, sample):
    report = run(GOOD, data=sample / "train_sample_videos")
    assert report.score.displayed == "0.69314"
    assert report.solution.endswith("metadata.json")


def test_file_names_with_commas_and_quotes_and_linked_folders_work(run, code_submission, tmp_path, sample):
    """The sample submission that is made for a folder of videos is proper CSV; a link inside the submission works."""
    data = tmp_path / "data"
    data.mkdir()
    clip = next((sample / "test_videos").glob("*.mp4"))
    for name in ("a,b.mp4", 'q"uote.MP4'):
        shutil.copy(clip, data / name)
    folder = code_submission(
        "import csv, os, pathlib\n"
        "value = (pathlib.Path(__file__).parent / 'linked/w.txt').read_text()\n"
        "folder = pathlib.Path(os.environ['DFDC_INPUT_DIR'])\n"
        "rows = list(csv.DictReader((folder / 'sample_submission.csv').open()))\n"
        "assert all((folder / 'test_videos' / row['filename']).is_file() for row in rows)\n"
        "table = csv.writer(open('submission.csv', 'w', newline=''))\n"
        "table.writerows([('filename', 'label'), *((row['filename'], value) for row in rows)])\n"
    )
    (folder / "weights").mkdir()
    (folder / "weights" / "w.txt").write_text("0.5")
    (folder / "linked").symlink_to("weights")
    report = run(folder, data=data)
    assert (report.judgement.verdict, report.rows) == (Verdict.COMPLETE, 2)


def test_single_file_is_run_without_the_files_beside_it(run, tmp_path):
    (tmp_path / "beside.txt").write_text("not mine")
    (tmp_path / "only.py").write_text(GOOD + "print(sorted(p.name for p in pathlib.Path(__file__).parent.iterdir()))")
    assert run(tmp_path / "only.py").observation.last_output[-1] == "['only.py']"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("closed", ["input", "..", "../..", "../../.."])
def test_run_that_closes_its_folders_leaves_a_report_and_no_stage(run, run_folder, backend, closed):
    place = "folder" if closed == "input" else repr(closed)
    source = f"{GOOD}\nimport contextlib\nwith contextlib.suppress(OSError): os.chmod({place}, 0)\n"
    verdict = run(source, backend=backend).judgement.verdict
    assert verdict in (Verdict.COMPLETE, Verdict.SCORING_ERROR, Verdict.COMPUTE)
    assert not (run_folder() / "stage").exists()


def test_load_of_other_programs_is_measured_and_not_counted_as_the_runs(run):
    spin = [sys.executable, "-c", "import time\nend = time.monotonic() + 300\nwhile time.monotonic() < end: pass"]
    others = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]
    try:
        report = run(GOOD + "import time; time.sleep(2)")
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert report.observation.noise.other_programs_share > 0.5, report.observation.noise
    assert report.observation.noise.probes > 0


def test_memory_samples_of_a_run_reach_its_report(run):
    """What they mean is tested on given samples, in test_memory_growth.py."""
    source = GOOD + (
        "import time\n"
        "kept = []\n"
        "for name in names:\n"
        "    with opened(name): time.sleep(0.02)\n"
        "    kept.append(b'x' * (32 << 20))\n"
        "time.sleep(2)\n"
    )
    report = run(source, backend="process")
    samples = report.observation.outcome.usage.memory_samples
    assert max(size for _, size in samples) > 256 << 20
    assert [at for at, _ in samples] == sorted(at for at, _ in samples)
    assert report.memory_growth is None  # 16 videos are too few


def test_stop_early_ends_a_run_whose_hidden_test_cannot_fit(run, tmp_path, sample):
    """64 videos of 0.1 s each are 6.4 s in all; but 40,000 of them take more than an hour, and a minute is allowed."""
    videos = tmp_path / "many"
    videos.mkdir()
    clip = min((sample / "test_videos").glob("*.mp4"), key=lambda path: path.stat().st_size)
    for i in range(64):
        shutil.copy(clip, videos / f"{i:02}.mp4")
    source = GOOD + "import time\nfor name in names:\n    with opened(name): time.sleep(0.1)\n"
    report = run(source, data=videos, stop_early=True, wall_time_s=60.0, test_videos=40_000)
    assert report.judgement.verdict is Verdict.TIMEOUT
    assert "40,000 take at least" in report.judgement.why
    assert report.observation.outcome.ending == "early-stop"
    assert 30 <= len(report.observation.reads) < 64
    assert report.forecast.videos_measured >= 30


def test_cli_shows_escape_codes_and_markup_of_a_submission_as_text(dfdc, code_submission):
    source = "print('\\x1b[2J\\x1b[31mscore 0.00001 complete [bold]x[/bold] [/nonsense]\\xff')\nraise SystemExit(1)"
    done = dfdc("run", code_submission(source))
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "| \\x1b[2J" in done.stdout
    assert "[bold]x[/bold] [/nonsense]" in done.stdout
    assert "exception (Kaggle: Notebook Threw Exception)" in done.stdout


def test_cli_prints_the_report_as_json_and_exits_0_for_a_good_run(dfdc, code_submission):
    done = dfdc("run", code_submission(GOOD), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["score"]["displayed"] == "0.69314"


def test_ctrl_c_leaves_a_report_and_no_process(code_submission, tmp_path):
    folder = code_submission("import time\nprint('up', flush=True)\ntime.sleep(60)")
    command = [sys.executable, "-m", "dfdc_kit", "run", folder]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "up" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        printed = process.stdout.read()
    assert process.returncode == 130
    assert "Stopped by you (Ctrl-C)" in " ".join(printed.split())
    run_folder = next((tmp_path / "runs").glob("2*/"))
    assert sorted(path.name for path in run_folder.iterdir()) == ["log.txt", "report.html", "run.json"]
    assert run_report.load(run_folder).judgement.verdict is Verdict.INTERRUPTED
    assert not [line for line in subprocess.getoutput("ps -eo args").splitlines() if str(run_folder) in line]


def test_program_that_looks_through_all_data_sets_is_not_said_to_miss_one(run):
    """As the bundled baselines do, whose weights may be attached in the layout of 2020 or that of 2026."""
    source = (
        "from pathlib import Path\nfor place in ('*', 'datasets/*/*'):\n"
        "    for folder in Path('/kaggle/input').glob(place): (folder / 'weights.npz').is_file()"
    )
    assert run(source).observation.unmounted_inputs == []
