"""The dress rehearsal: what misbehaving submissions do with hard inputs is told exactly; every baseline passes."""

import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.cli import rehearse as command
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.harness.rehearsal.hard_inputs import HARD_INPUTS, chosen
from dfdc_kit.harness.rehearsal.record import Severity
from dfdc_kit.harness.rehearsal.rehearse import RehearsalRequest, rehearse
from dfdc_kit.harness.request import NullListener
from dfdc_kit.report import run_report
from dfdc_kit.sandbox import choose
from dfdc_kit.submission.code import read_code_submission

ROOT = Path(__file__).resolve().parents[2]
CASES = sorted(path.parent for path in ROOT.glob("tests/cases/rehearsals/*/expect.toml"))
BASELINES = sorted(path.parent for path in ROOT.glob("baselines/*/submission.toml"))


@pytest.fixture
def rehearsed(tmp_path):
    """Rehearse a submission on four clips of the sample; its report."""

    def call(folder: Path, inputs: list[str], **options):
        challenge = challenges.load()
        request = RehearsalRequest(
            submission=read_code_submission(folder),
            clips=find_dataset(ROOT / "sample_data", challenge).videos[:4],
            challenge=challenge,
            profile_name=profiles.DEFAULT,
            profile=profiles.load(),
            inputs=chosen(inputs),
            **options,
        )
        return rehearse(request, choose(), tmp_path / "runs", NullListener())

    return call


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """The command as it is registered, called in an empty folder."""
    app = typer.Typer()
    app.command("rehearse")(command.rehearse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_the_table_names_what_happened(folder, rehearsed):
    expected = tomllib.loads((folder / "expect.toml").read_text("utf-8"))
    report = rehearsed(folder, expected["inputs"], limit_s=expected.get("limit_s"))
    found = {one.code: one for one in report.findings}
    assert {code: one.deed.value for code, one in found.items()} == expected["deeds"]
    assert report.outcome == expected["outcome"]
    assert {one.what: one.severity.value for one in report.comparisons} == expected.get("comparisons", {})
    assert {code: found[code].kaggle for code in expected.get("kaggle", {})} == expected.get("kaggle", {})
    for code, part in expected.get("said", {}).items():
        assert part in found[code].said
    if "warnings" in expected:
        assert report.count(Severity.WARNING) == expected["warnings"]
    assert all(one.fix for one in found.values() if one.severity in (Severity.ERROR, Severity.WARNING))


@pytest.mark.runs_submission
@pytest.mark.parametrize("folder", BASELINES, ids=lambda folder: folder.name)
def test_a_baseline_passes(folder, cli):
    """All hard inputs, as a user types it: no warning either."""
    done = cli(folder, "--json")
    report = json.loads(done.stdout)
    assert report["outcome"] == "passed", report
    assert done.exit_code == 0
    assert {one["severity"] for one in (*report["findings"], *report["comparisons"])} == {"ok"}
    assert [one["code"] for one in report["findings"]] == [
        "ordinary",
        *(hard.code for hard in HARD_INPUTS if hard.code not in report["left_out"]),
    ]


def test_what_is_left_on_disk(rehearsed, tmp_path):
    """Report, inputs by the name of their kind, and each run; no links to the clips."""
    report = rehearsed(ROOT / "tests/cases/rehearsals/good", ["zero-bytes", "upper-case-suffix"])
    folder = tmp_path / "runs" / report.rehearsal_id
    assert sorted(path.name for path in folder.iterdir()) == [
        "01-ordinary-clips",
        "02-hard-inputs",
        "03-the-same-again",
        "04-other-order",
        "inputs",
        "rehearsal.json",
    ]
    assert sorted(path.name for path in (folder / "inputs").iterdir()) == ["upper-case-suffix.MP4", "zero-bytes.mp4"]
    assert json.loads((folder / "rehearsal.json").read_bytes())["outcome"] == "passed"
    for step in report.steps:
        assert run_report.load(folder / step.folder).rows == step.rows


def test_names_and_counts_are_other_ones(rehearsed, tmp_path):
    """Four clips become 9 rows, then 6 with two hard inputs; the same names only where all is the same."""
    report = rehearsed(ROOT / "tests/cases/rehearsals/good", ["upper-case-suffix", "release-name"], videos=9)
    folder = tmp_path / "runs" / report.rehearsal_id
    names = [
        re.findall(r"(?m)^(\w+\.\w+),", (folder / step.folder / "submission.csv").read_text()) for step in report.steps
    ]
    assert [len(each) for each in names] == [9, 6, 6, 6]
    own = {path.name for path in (ROOT / "sample_data" / "test_videos").iterdir()}
    assert not own & {name for each in names for name in each}
    plain, hard, again, shuffled = names
    assert hard == again == sorted(hard)
    assert not set(hard) & set(plain)
    assert not set(hard) & set(shuffled)
    assert shuffled != sorted(shuffled)
    assert all(re.fullmatch(r"[a-z]{10}\.mp4", name) for name in plain)
    assert [name for name in hard if re.fullmatch(r"[a-z]{10}\.MP4", name)]
    assert [name for name in hard if re.fullmatch(r"[4-7]\d{3}\.mp4", name)]


def test_the_page_that_a_person_reads(cli):
    case = ROOT / "tests/cases/rehearsals/crashes-on-an-empty-file"
    done = cli(case, "--only", "zero-bytes", "--only", "garbage", "--videos", "3")
    assert done.exit_code == 1, done.output
    lines = done.stdout.splitlines()
    table = lines[lines.index("") + 1 :][:4]
    assert max(map(len, table)) <= 80
    assert re.fullmatch(r"input +what it did +Kaggle *", table[0])
    assert re.fullmatch(r"zero-bytes +exception: struct.error: unpack .* Notebook Threw Exception", table[2].rstrip())
    assert re.fullmatch(r"garbage +silent default [\d.]+ +Complete", table[3].rstrip())
    assert "Traceback (most recent call last)" in done.stdout
    assert "fix: Catch the decoder's own error" in done.stdout
    assert lines[-1].startswith("FAILED: crashes-on-an-empty-file: 1 error, 1 warning;")


def test_unknown_hard_input(rehearsed):
    with pytest.raises(Exception, match="no hard input 'zero-byte'") as caught:
        rehearsed(CASES[0], ["zero-byte"])
    assert "zero-bytes" in caught.value.hint


def test_ctrl_c_reports_what_was_found(code_submission, tmp_path):
    """The report says interrupted, the exit code 130, and nothing keeps running."""
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
        said = process.stdout.read()
    assert process.returncode == 130
    assert "INTERRUPTED" in said
    assert len(list((tmp_path / "runs").glob("*/rehearsal.json"))) == 1
