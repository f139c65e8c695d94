"""The training folder is mounted without what is scored: by name, by content, and in references of other rows."""

import json
import os
import shutil
from pathlib import Path

import pytest

from dfdc_kit import challenge
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.harness.training_folder import training_folder
from dfdc_kit.report.verdicts import Verdict

HOSTILE = Path(__file__).parents[1] / "cases" / "code" / "looks-for-labels"
READS = (Path(__file__).parents[1] / "cases" / "code" / "reads-training-metadata" / "main.py").read_text()


@pytest.fixture
def competition(tmp_path):
    """A data folder: six training videos, two of which are scored under another name or as a link."""
    train, test = tmp_path / "data" / "train_sample_videos", tmp_path / "data" / "test_videos"
    train.mkdir(parents=True)
    test.mkdir()
    for name in "abcdef":
        (train / f"{name}.mp4").write_bytes(name.encode() * 100)
    rows = {f"{name}.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"} for name in "bcdef"}
    rows |= {"a.mp4": {"label": "REAL", "split": "train", "original": None}, "gone.mp4": {"label": "FAKE"}}
    (train / "metadata.json").write_text(json.dumps(rows))
    (train / "labels.csv").write_text("filename,label\na.mp4,0\n")
    return train, test


def mounted(test: Path):
    return training_folder(find_dataset(test.parent, challenge.load()), challenge.load())


def test_videos_that_are_not_scored_are_all_mounted(competition):
    train, test = competition
    (test / "x.mp4").write_bytes(b"x" * 100)
    found = mounted(test)
    assert [path.name for path in found.videos] == [f"{name}.mp4" for name in "abcdef"]
    assert found.metadata == json.loads((train / "metadata.json").read_text())
    assert found.withheld == []


@pytest.mark.parametrize("how", ["same name", "copy", "hard link", "symbolic link"])
def test_scored_video_is_withheld_with_its_row_and_references(competition, how):
    train, test = competition
    if how == "same name":
        (test / "a.mp4").write_bytes(b"another cut")
    elif how == "copy":
        shutil.copy(train / "a.mp4", test / "renamed.mp4")
    elif how == "hard link":
        os.link(train / "a.mp4", test / "renamed.mp4")
    else:
        (test / "renamed.mp4").symlink_to(train / "a.mp4")
    found = mounted(test)
    assert found.withheld == ["a.mp4"]
    assert [path.name for path in found.videos] == [f"{name}.mp4" for name in "bcdef"]
    assert "a.mp4" not in json.dumps(found.metadata)
    assert found.metadata["b.mp4"] == {"label": "FAKE", "split": "train", "original": None}


def test_row_without_its_video_is_withheld_by_name(competition):
    _, test = competition
    (test / "gone.mp4").write_bytes(b"x")
    found = mounted(test)
    assert found.withheld == ["gone.mp4"]
    assert "gone.mp4" not in found.metadata


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
@pytest.mark.parametrize("layout", ["training folder", "split"])
def test_hostile_program_finds_no_label_when_training_videos_are_scored(
    run, run_folder, sample, tmp_path, backend, layout
):
    data = sample / "train_sample_videos"
    if layout == "split":
        data = tmp_path / "split"
        (data / "test_videos").mkdir(parents=True)
        for video in sorted((sample / "train_sample_videos").glob("*.mp4"))[:5]:
            (data / "test_videos" / video.name).symlink_to(video)
    solution = sample / "train_sample_videos" / "metadata.json"
    report = run(HOSTILE, data=data, solution=solution, backend=backend)
    assert report.judgement.verdict is Verdict.COMPLETE, report.observation.last_output
    assert len(report.observation.withheld) == report.rows > 0


def test_training_videos_are_mounted_and_not_copied_where_the_sandbox_mounts(run, sample, monkeypatch):
    source = READS + "print(sum(path.stat().st_size for path in (INPUT / 'train_sample_videos').glob('*.mp4')))\n"
    report = run(source, backend="bubblewrap")
    size = sum(path.stat().st_size for path in (sample / "train_sample_videos").glob("*.mp4"))
    assert report.observation.last_output[-1] == str(size)
    assert report.observation.staging_notes == []


@pytest.mark.parametrize("attached", ["labels", "competition"])
def test_attached_input_with_labels_or_a_name_of_kaggles_is_refused(dfdc, code_submission, sample, attached, tmp_path):
    folder = code_submission("pass")
    slug, path = {
        "labels": ("weights", sample / "solution"),
        "competition": ("deepfake-detection-challenge", tmp_path),
    }[attached]
    done = dfdc("run", folder, "--input", f"{slug}={path}")
    assert done.returncode == 2, done.stdout
    assert ("overlap" if attached == "labels" else "Kaggle's own") in " ".join(done.stderr.split())


def test_input_option_mounts_a_folder_and_the_report_lists_it(dfdc, code_submission, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.txt").write_text("0.5")
    folder = code_submission(
        "print(open('/kaggle/input/datasets/ada/w/w.txt').read(), open('../input/w/w.txt').read())"
    )
    done = dfdc("run", folder, "--input", f"ada/w={tmp_path / 'weights'}", "--json")
    report = json.loads(done.stdout)
    assert report["observation"]["last_output"][-1] == "0.5 0.5"
    (listed,) = report["inputs"]
    assert (listed["slug"], listed["size_bytes"]) == ("ada/w", 3)


def test_metadata_that_is_no_json_object_is_left_out_and_noted(competition):
    train, test = competition
    (test / "x.mp4").write_bytes(b"x" * 100)
    (train / "metadata.json").write_text('{"a.mp4": ')
    found = mounted(test)
    assert (found.metadata, found.problem) == (None, "metadata.json is not a JSON object")
    (train / "metadata.json").unlink()
    assert mounted(test).problem == ""
