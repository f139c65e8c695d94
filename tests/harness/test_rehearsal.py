"""Rehearsals report what submissions with known faults do with hard inputs, and every baseline passes one."""

import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.cli import rehearse as command
from dfdc_kit.cli.rehearse import NO_VIDEO_OPENED
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.errors import UsageError
from dfdc_kit.harness.rehearsal import record
from dfdc_kit.harness.rehearsal.footage import encode, read_frames, resized
from dfdc_kit.harness.rehearsal.hard_inputs import HARD_INPUTS, READERS, readers_of, select
from dfdc_kit.harness.rehearsal.record import InputOutcome, RehearsalReport, RehearsalSeverity
from dfdc_kit.harness.rehearsal.rehearse import RehearsalRequest, rehearse
from dfdc_kit.harness.request import NullListener
from dfdc_kit.report import history, run_report
from dfdc_kit.sandbox import choose
from dfdc_kit.submission.code import read_code_submission

ROOT = Path(__file__).resolve().parents[2]
CASES = sorted(path.parent for path in ROOT.glob("tests/cases/rehearsals/*/expect.toml"))
GOOD = ROOT / "tests/cases/rehearsals/good"
BASELINES = sorted(path.parent for path in ROOT.glob("baselines/*/submission.toml"))
SLOW = ("constant", "face-cnn", "face-stats")  # two take minutes; constant opens no video, nor does class-prior
A_FEW_INPUTS = ("zero-bytes", "truncated-half", "audio-only", "one-frame", "no-face")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    """The beginnings of four clips of the sample, a quarter as wide and high: decoding takes most of a rehearsal."""
    folder = tmp_path_factory.mktemp("clips")
    for path in find_dataset(ROOT / "sample_data", challenges.load()).videos[:4]:
        frames = [resized(frame, frame.width // 8 * 2, frame.height // 8 * 2) for frame in read_frames(path)[:12]]
        (folder / path.name).write_bytes(encode(frames))
    return sorted(folder.iterdir())


def run_rehearsal(folder: Path, clips: list[Path], inputs: list[str], runs: Path, **options) -> RehearsalReport:
    """Rehearse a submission on these clips."""
    challenge = challenges.load()
    request = RehearsalRequest(
        submission=read_code_submission(folder),
        clips=clips,
        challenge=challenge,
        profile_name=profiles.DEFAULT,
        profile=profiles.load(),
        inputs=select(inputs),
        **options,
    )
    return rehearse(request, choose(), runs, NullListener(), warn=pytest.fail)


@pytest.fixture(scope="module")
def good(clips, tmp_path_factory) -> tuple[RehearsalReport, Path]:
    """The rehearsal of a good submission, nine ordinary clips and two hard inputs; its report and its folder."""
    runs = tmp_path_factory.mktemp("runs")
    report = run_rehearsal(GOOD, clips, ["upper-case-suffix", "release-name"], runs, videos=9)
    return report, runs / report.rehearsal_id


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """`dfdc rehearse` in an empty folder, on 80 columns."""
    app = typer.Typer()
    app.command("rehearse")(command.rehearse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_findings_match_the_expected_ones_for_each_faulty_submission(folder, clips, tmp_path):
    expected = tomllib.loads((folder / "expect.toml").read_text("utf-8"))
    report = run_rehearsal(folder, clips, expected["inputs"], tmp_path / "runs", limit_s=expected.get("limit_s"))
    found = {one.code: one for one in report.findings}
    assert {code: one.outcome.value for code, one in found.items()} == expected["outcomes"]
    assert report.outcome == expected["outcome"]
    assert report.opens_no_video == expected.get("opens_no_video", False)
    assert {one.what: one.severity.value for one in report.comparisons} == expected.get("comparisons", {})
    assert {code: found[code].kaggle for code in expected.get("kaggle", {})} == expected.get("kaggle", {})
    for code, part in expected.get("detail", {}).items():
        assert part in found[code].detail
    for code, part in expected.get("fix", {}).items():
        assert part in found[code].fix
    if "warnings" in expected:
        assert report.count(RehearsalSeverity.WARNING) == expected["warnings"]
    faults = [one for one in found.values() if one.severity in (RehearsalSeverity.ERROR, RehearsalSeverity.WARNING)]
    assert all(one.fix for one in faults)


def assert_passes(cli, *arguments: object, codes: list[str]) -> None:
    """The command reports no warning either, and a finding for each of `codes`."""
    done = cli(*arguments, "--json")
    report = json.loads(done.stdout)
    assert report["outcome"] == "passed", report
    assert done.exit_code == 0
    assert {one["severity"] for one in (*report["findings"], *report["comparisons"])} == {"ok"}
    assert [one["code"] for one in report["findings"]] == [
        "ordinary",
        *(code for code in codes if code not in report["left_out"]),
    ]


@pytest.mark.runs_submission
@pytest.mark.slow
@pytest.mark.parametrize("folder", BASELINES, ids=lambda path: path.name)
def test_baseline_passes_when_rehearsed_on_all_hard_inputs(folder, cli):
    assert_passes(cli, folder, codes=[hard.code for hard in HARD_INPUTS])


@pytest.mark.runs_submission
@pytest.mark.parametrize(
    "folder",
    [pytest.param(path, id=path.name, marks=[pytest.mark.slow] * (path.name in SLOW)) for path in BASELINES],
)
def test_baseline_passes_when_rehearsed_on_a_few_hard_inputs(folder, cli, tmp_path):
    clips = tmp_path / "clips" / "test_videos"
    clips.mkdir(parents=True)
    for clip in sorted((ROOT / "sample_data" / "test_videos").iterdir())[:2]:
        (clips / clip.name).write_bytes(clip.read_bytes())
    only = [word for code in A_FEW_INPUTS for word in ("--only", code)]
    assert_passes(cli, folder, "--data", clips.parent, "--videos", 2, *only, codes=list(A_FEW_INPUTS))


def test_folder_holds_report_inputs_and_runs_but_no_links_after_a_rehearsal(good):
    report, folder = good
    assert sorted(path.name for path in folder.iterdir()) == [
        "01-ordinary-clips",
        "02-hard-inputs",
        "03-repeat",
        "04-shuffled",
        "inputs",
        "rehearsal.json",
    ]
    assert sorted(path.name for path in (folder / "inputs").iterdir()) == ["release-name.mp4", "upper-case-suffix.MP4"]
    assert record.load(folder / "rehearsal.json") == report
    for step in report.steps:
        assert run_report.load(folder / step.folder).rows == step.rows


def test_history_has_one_row_after_a_rehearsal(good):
    report, folder = good
    assert [(one.kind, one.name, one.outcome) for one in history.read(folder.parent)] == [
        (history.Kind.REHEARSAL, report.rehearsal_id, "passed")
    ]


def test_names_and_number_of_rows_differ_from_the_sample_in_each_run(good):
    """Nine clips become 9 rows, then 6 with two hard inputs; the repeated run has the same names."""
    report, folder = good
    names = [
        re.findall(r"(?m)^(\w+\.\w+),", (folder / step.folder / "submission.csv").read_text()) for step in report.steps
    ]
    assert [len(each) for each in names] == [9, 6, 6, 6]
    own = {path.name for path in (ROOT / "sample_data" / "test_videos").iterdir()}
    assert not own & {name for each in names for name in each}
    ordinary, hard, repeat, shuffled = names
    assert hard == repeat == sorted(hard)
    assert not set(hard) & set(ordinary)
    assert not set(hard) & set(shuffled)
    assert shuffled != sorted(shuffled)
    assert all(re.fullmatch(r"[a-z]{10}\.mp4", name) for name in ordinary)
    assert [name for name in hard if re.fullmatch(r"[a-z]{10}\.MP4", name)]
    assert [name for name in hard if re.fullmatch(r"[4-7]\d{3}\.mp4", name)]


def test_summary_fits_one_screen_and_groups_findings_by_kind(cli):
    only = [word for code in ("zero-bytes", "garbage", "no-moov", "audio-only") for word in ("--only", code)]
    done = cli(ROOT / "tests/cases/rehearsals/crashes-on-an-empty-file", *only, "--videos", "3")
    assert done.exit_code == 1, done.output
    summary = done.stdout[done.stdout.index("\n\n") + 2 :].splitlines()
    assert len(summary) <= 24
    assert re.fullmatch(r"FAILED: crashes-on-an-empty-file: 1 error, 3 warnings \(6 runs, \d+ s\)", summary[0])
    table = [line.rstrip() for line in summary[1:7]]
    assert max(map(len, table)) <= 80
    assert re.fullmatch(r"exception \(1\) +zero-bytes", table[0])
    assert re.fullmatch(r"silent fallback \(3\) +no-moov, garbage, audio-only", table[1])
    assert re.fullmatch(r"prediction \(1\) +ordinary", table[2])
    assert re.fullmatch(r"repeat +identical predictions for \d+ videos", table[3])
    assert "error exception: zero-bytes (Kaggle: Notebook Threw Exception)" in summary
    assert [line for line in summary if line.startswith("warning")] == [
        "warning silent fallback: no-moov, garbage, audio-only"
    ]
    assert "    | struct.error: unpack requires a buffer of 4 bytes" in summary
    assert summary[-1].startswith("report: ")


def test_summary_says_that_nothing_was_rehearsed_when_no_video_is_opened(cli):
    done = cli(ROOT / "tests/cases/rehearsals/constant", "--only", "zero-bytes")
    assert done.exit_code == 0, done.output
    assert f"note: {NO_VIDEO_OPENED}" in done.stdout


@pytest.mark.parametrize(
    ("source", "readers"),
    [
        ("import cv2\ncap = cv2.VideoCapture(path)", ["cv2"]),
        ("import av\nwith av.open(path) as container: ...", ["av"]),
        ("from decord import VideoReader, cpu", ["decord"]),
        ("import imageio\nimageio.get_reader(path, 'ffmpeg')", ["imageio"]),
        ("from torchvision.io import read_video\nframes, _, _ = read_video(path)", ["torchvision"]),
        ("import cv2, decord\nfrom cv2 import VideoCapture\nVideoCapture (path)\nimport decord", ["cv2", "decord"]),
        ("import cv2\ncv2.imread('face.png')", []),
    ],
)
def test_readers_are_recognised_in_the_sources_of_a_submission(source, readers, tmp_path):
    (tmp_path / "main.py").write_text(source)
    found = readers_of(read_code_submission(tmp_path / "main.py"))
    assert [name for name, reader in READERS.items() if reader in found] == readers


def test_error_names_the_nearest_hard_input_when_a_code_is_unknown():
    with pytest.raises(UsageError, match="Unknown hard input 'zero-byte'") as caught:
        select(["zero-byte"])
    assert "Did you mean 'zero-bytes'?" in caught.value.hint


def test_report_of_schema_1_is_still_read(tmp_path):
    saved = {
        **dict.fromkeys(("kit_version", "started", "submission", "submission_folder", "profile_name", "backend"), "x"),
        "schema_version": 1,
        "rehearsal_id": "old",
        "submission_sha256": "0",
        "seed": 0,
        "outcome": "failed",
        "findings": [
            {
                "code": "garbage",
                "title": "random bytes",
                "deed": "silent default",
                "severity": "warning",
                "said": "why",
                "evidence": ["line"],
            }
        ],
        "comparisons": [],
        "left_out": {},
        "steps": [],
    }
    (tmp_path / record.FILE).write_bytes(msgspec.json.encode(saved))
    (finding,) = record.load(tmp_path / record.FILE).findings
    assert (finding.outcome, finding.detail, finding.log_lines) == (InputOutcome.SILENT_FALLBACK, "why", ["line"])


def test_report_says_interrupted_when_a_rehearsal_is_stopped_with_ctrl_c(code_submission, tmp_path):
    """The exit code is 130, and nothing keeps running."""
    folder = code_submission("import time\nprint('up', flush=True)\ntime.sleep(60)")
    program = (
        "import sys, typer\nfrom dfdc_kit.cli.rehearse import rehearse\n"
        "app = typer.Typer(); app.command()(rehearse); app()"
    )
    words = [sys.executable, "-c", program, folder, "--only", "zero-bytes"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ordinary clips" in process.stdout.readline()
        while not [log for log in tmp_path.glob("runs/*/*/*/log.txt") if log.read_bytes()]:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output = process.stdout.read()
    assert process.returncode == 130
    assert "INTERRUPTED" in output
    assert len(list((tmp_path / "runs").glob("*/rehearsal.json"))) == 1
