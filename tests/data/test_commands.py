"""The data, scoring and validation commands: what they print as `next:` works, unreadable input is one sentence."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.split import SplitPlan
from dfdc_kit.data.split_files import make_split
from dfdc_kit.errors import KitError

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture
def data(tmp_path) -> Path:
    """Labels of eight originals and their fakes, without videos."""
    labels = {}
    for number in range(8):
        labels[f"r{number}.mp4"] = {"label": "REAL"}
        labels[f"f{number}.mp4"] = {"label": "FAKE", "original": f"r{number}.mp4"}
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps(labels))
    return folder


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


FOLDS_THAT_SHARE = "filename,fold\n" + "".join(
    f"r{n}.mp4,{'train' if n % 2 else 'validation'}\nf{n}.mp4,{'validation' if n % 2 else 'train'}\n" for n in range(8)
)
LABELS_WITHOUT_ORIGINALS = "filename,label\n" + "".join(f"r{n}.mp4,REAL\nf{n}.mp4,FAKE\n" for n in range(8))


def one_class_in_validation(tmp_path: Path) -> list[str]:
    """One original with many fakes, and ten originals alone: several seeds give one class."""
    labels = {f"r{n}.mp4": {"label": "REAL"} for n in range(6)}
    labels |= {f"f{n}.mp4": {"label": "FAKE", "original": f"o{n}.mp4"} for n in range(6)}
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps(labels))
    return ["data", "split", "mixed", "--holdout", "0.1", "--seed", "1"]


OUTCOMES = {
    "audit without videos": lambda tmp: ["audit", "data"],
    "audit of shared originals": lambda tmp: [
        "audit", "data", "--metadata-only", "--split", write(tmp / "split.csv", FOLDS_THAT_SHARE)
    ],
    "audit of labels without originals": lambda tmp: [
        "audit", write(tmp / "labels.csv", LABELS_WITHOUT_ORIGINALS), "--metadata-only"
    ],
    "audit of a submission with other columns": lambda tmp: [
        "audit", "data", "--metadata-only", "--submission", write(tmp / "s.csv", "id,p\na,1\n")
    ],
    "audit of untouched rows": lambda tmp: [
        "audit", "data", "--metadata-only", "--submission", write(tmp / "s.csv", "filename,label\nr1.mp4,0\n")
    ],
    "audit of imbalanced validation": lambda tmp: [
        "audit", "data", "--metadata-only",
        "--split", write(tmp / "split.csv", "filename,fold\nr1.mp4,validation\nf2.mp4,train\n"),
    ],
    "split with one class": one_class_in_validation,
    "score of a part of a test set": lambda tmp: [
        "score", write(tmp / "s.csv", "filename,label\na.mp4,0.5\nb.mp4,0.5\n"),
        write(tmp / "t.csv", "filename,label,Usage\na.mp4,0,Public\nb.mp4,1,Public\nc.mp4,1,Private\n"),
    ],
    "compare with an invalid submission": lambda tmp: [
        "compare", write(tmp / "s.csv", "filename,label\na.mp4,0.5\nb.mp4,x\n"), tmp / "s.csv",
        "--solution", write(tmp / "t.csv", "filename,label\na.mp4,0\nb.mp4,1\n"),
    ],
    "score with a failing metric": lambda tmp: [
        "score", write(tmp / "s.csv", "filename,label\nr1.mp4,0.5\nf1.mp4,0.5\n"),
        write(tmp / "t.csv", "filename,label\nr1.mp4,0\nf1.mp4,1\n"), "--metric", CASES / "metrics" / "returns-none.py",
    ],
}  # fmt: skip


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_next_command_works_as_printed(dfdc, data, tmp_path, outcome):
    done = dfdc(*OUTCOMES[outcome](tmp_path))
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "next: " in line]
    assert lines, done.stdout + done.stderr
    for line in lines:
        program, *arguments = shlex.split(line.split("next: ")[1])
        assert program == "dfdc"
        after = dfdc(*arguments)
        assert after.returncode in (0, 1), line + after.stderr  # 1: what it examines is at fault, as was said


MANY_FAULTS = "filename,label\n" + "".join(f"{n}.mp4,x\n" for n in range(71)) + "a.mp4,1\na.mp4,0\nshort\n"


@pytest.mark.parametrize(
    "command",
    [
        ["score", "s.csv", "labels.csv"],
        ["data", "labels", "labels.csv"],
        ["data", "split", "labels.csv"],
        ["audit", "labels.csv"],
        ["competition", "check", "dfdc", "-s", "labels.csv"],
    ],
)
def test_faults_of_labels_are_five_on_the_screen_and_all_in_json_and_with_all(dfdc, tmp_path, command):
    (tmp_path / "labels.csv").write_text(MANY_FAULTS)
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.5\n")
    few, as_json = dfdc(*command), dfdc(*command, "--json")
    assert (few.returncode, as_json.returncode) == (3, 3)
    assert few.stderr.count("line ") == 5
    assert "and 68 more (--json lists all)" in few.stderr
    error = json.loads(as_json.stdout)["error"]
    assert error["code"] == "invalid-data"
    assert len(error["faults"]) == 73
    assert "line 74: 'a.mp4' again, with another label as on line 73" in error["faults"]
    line = next(line for line in few.stderr.splitlines() if "next: dfdc " in line)
    assert dfdc(*shlex.split(line.split("next: dfdc ")[1])).stderr.count("line ") == 74  # one line names two


def test_an_error_after_the_json_document_adds_no_second_one(dfdc, data):
    done = dfdc("audit", "data", "--json")  # no video is present
    assert (done.returncode, "error" in json.loads(done.stdout)) == (3, False)


def test_wrong_usage_is_json_too(dfdc):
    done = dfdc("audit", "--nosuch", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "usage-error")


def test_validate_lists_all_faults_of_labels_given_as_the_expected_rows(dfdc, tmp_path):
    (tmp_path / "labels.csv").write_text(MANY_FAULTS)
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.5\n")
    done = dfdc("validate", "s.csv", "--against", "labels.csv", "--all")
    assert done.stderr.count("seen 'x'") == 71


def test_next_command_of_a_split_runs_a_baseline_on_its_validation(dfdc, sample):
    done = dfdc("data", "split", sample, "--holdout", "0.2", "--nearest")
    (line,) = [line for line in done.stdout.splitlines() if "next: " in line]
    after = dfdc(*shlex.split(line.split("next: dfdc ")[1]), "--backend", "process")
    assert after.returncode == 0, after.stderr


def test_split_of_labels_without_originals_works_by_video_and_warns(dfdc, tmp_path):
    (tmp_path / "labels.csv").write_text(LABELS_WITHOUT_ORIGINALS)
    refused = dfdc("data", "split", "labels.csv")
    assert (refused.returncode, "--by video" in refused.stderr) == (3, True)
    done = dfdc("data", "split", "labels.csv", "--by", "video", "--holdout", "0.4", "--nearest", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert "a fake and its original may be in both folds" in done.stderr


@pytest.mark.parametrize("kind", ["one part", "no originals"])
def test_split_that_fails_prints_a_command_that_works(tmp_path, kind):
    """One part of the training set, or FAKE rows without an original; the audit of the part names it, too."""
    if kind == "one part":
        entries = {f"{i}.mp4": {"label": "REAL"} for i in range(30)}
        entries |= {f"f{i}.mp4": {"label": "FAKE", "original": f"{i}.mp4"} for i in range(30)}
        source = tmp_path / "dfdc_train_part_3" / "metadata.json"
        source.parent.mkdir()
        source.write_text(json.dumps(entries))
    else:
        source = tmp_path / "labels.csv"
        source.write_text("filename,label\n" + "".join(f"{i}.mp4,{i % 2}\n" for i in range(60)))
    with pytest.raises(KitError) as raised:
        make_split([source], tmp_path / "split", SplitPlan(), challenges.load())
    words = shlex.split(raised.value.command)
    assert words[:5] == ["dfdc", "data", "split", str(source), "--out"]
    assert words[words.index("--by") + 1] == ("original" if kind == "one part" else "video")
    plan = SplitPlan(by=words[words.index("--by") + 1])
    assert make_split([source], tmp_path / "split", plan, challenges.load()).folds["validation"].videos > 0


def test_split_with_one_class_in_validation_is_refused_with_a_plan_that_works(dfdc, tmp_path):
    arguments = one_class_in_validation(tmp_path)
    done = dfdc(*arguments)
    assert done.returncode == 2
    assert "has one class only" in done.stderr
    assert not (tmp_path / "split").exists()


# ----------------------------------------------------------------------------------------------------------- unreadable

WITHOUT_ROOT = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]  # root, but permissions count
AS_ORDINARY_USER = WITHOUT_ROOT if os.geteuid() == 0 else []
needs_setpriv = pytest.mark.skipif(
    bool(AS_ORDINARY_USER) and shutil.which("setpriv") is None, reason="root may read everything"
)

UNREADABLE = {
    "validate a file in a closed folder": ["validate", "shut/x.csv"],
    "validate a closed file": ["validate", "closed.csv"],
    "validate against a closed file": ["validate", "s.csv", "--against", "closed.csv"],
    "validate against a closed folder": ["validate", "s.csv", "--against", "shut"],
    "score a closed file": ["score", "closed.csv", "s.csv"],
    "score with a closed solution": ["score", "s.csv", "closed.csv"],
    "score with a solution in a closed folder": ["score", "s.csv", "shut/x.csv"],
    "parity of a closed file": ["parity", "--metric", "closed.csv"],
    "labels of a closed folder": ["data", "labels", "shut"],
    "labels of a folder with a closed one": ["data", "labels", "."],
    "split of a closed file": ["data", "split", "closed.csv"],
    "status of a closed folder": ["data", "status", "shut"],
    "status of a folder with a closed one": ["data", "status", "."],
    "verify a closed folder": ["data", "verify", "shut"],
    "verify a folder with a closed one": ["data", "verify", "."],
    "audit a closed folder": ["audit", "shut"],
    "audit a closed split": ["audit", "s.csv", "--split", "closed.csv", "--metadata-only"],
    "audit a closed submission": ["audit", "s.csv", "--submission", "shut/x.csv", "--metadata-only"],
}


@needs_setpriv
@pytest.mark.parametrize("case", UNREADABLE)
def test_unreadable_input_is_one_sentence_and_exit_code_3(tmp_path, case):
    (tmp_path / "s.csv").write_text("filename,label\nr1.mp4,0\nf1.mp4,1\n")
    (tmp_path / "closed.csv").write_text("filename,label\nr1.mp4,0\nf1.mp4,1\n")
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut" / "x.csv").touch()
    for path in (tmp_path / "closed.csv", tmp_path / "shut"):
        path.chmod(0)
    try:
        command = [*AS_ORDINARY_USER, sys.executable, "-m", "dfdc_kit", *UNREADABLE[case]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    finally:
        (tmp_path / "shut").chmod(0o700)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error[missing-data]: Cannot read ")
