"""The external-data manifest, and what a submission attaches on Kaggle."""

import json
import os

import pytest

from dfdc_kit import profiles
from dfdc_kit.errors import SubmissionError, UsageError
from dfdc_kit.submission.code import read_code_submission
from dfdc_kit.submission.external_data import manifest_problems, parse_input_options

ENTRY = '[[external_data]]\nname = "{name}"\nsize_bytes = {size}\nlicence = "{licence}"\nurl = "https://example.org"\n'


def problems(folder, settings: str = "") -> list[str]:
    (folder / "submission.toml").write_text(f'name = "x"\n{settings}')
    return manifest_problems(read_code_submission(folder), profiles.load())


@pytest.fixture
def folder(code_submission):
    return code_submission("pass")


def test_code_and_small_files_need_no_manifest(folder):
    (folder / "model.json").write_text("{}")
    assert problems(folder) == []


def test_large_file_that_is_not_listed_is_a_problem(folder):
    (folder / "weights.pth").write_bytes(b"x" * (2 << 20))
    (seen,) = problems(folder)
    assert "weights.pth (2.0 MiB) is not listed" in seen
    assert problems(folder, ENTRY.format(name="weights.pth", size=2 << 20, licence="MIT")) == []


def test_listed_size_that_is_not_the_files_is_a_problem(folder):
    (folder / "weights.pth").write_bytes(b"x" * (2 << 20))
    assert "listed as 5" in problems(folder, ENTRY.format(name="weights.pth", size=5, licence="MIT"))[0]


def test_more_external_data_than_the_rules_allow_is_a_problem(folder):
    entries = "".join(ENTRY.format(name=f"set {i}", size=600 << 20, licence="MIT") for i in range(2))
    assert "1.2 GiB in all; the limit is 1.0 GiB" in problems(folder, entries)[0]


def test_entry_without_a_licence_is_a_problem(folder):
    assert "no licence" in problems(folder, ENTRY.format(name="faces", size=1, licence=" "))[0]


INPUT = '[[inputs]]\nslug = "{slug}"\npath = "{path}"\nlicence = "MIT"\nurl = "https://example.org"\n'


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.pt").write_bytes(b"x" * 1000)
    return tmp_path / "weights"


def test_inputs_of_submission_toml_have_a_folder_and_both_mount_points(folder, weights):
    assert problems(folder, INPUT.format(slug="ada/face-weights", path="../weights")) == []
    (attached,) = read_code_submission(folder).settings.inputs
    assert attached.folder(folder) == weights
    assert attached.mount_points == ["face-weights", "datasets/ada/face-weights"]


def test_input_without_licence_is_a_problem_and_its_files_count(folder, weights):
    (weights / "large.pt").touch()
    os.truncate(weights / "large.pt", 1100 << 20)
    found = problems(folder, INPUT.format(slug="ada/w", path=weights).replace("MIT", ""))
    assert found == [
        "input 'ada/w' has no licence",
        "external data takes 1.1 GiB in all; the limit is 1.0 GiB",
    ]


def test_input_option_replaces_a_folder_or_attaches_one_more(folder, weights, tmp_path):
    (folder / "submission.toml").write_text('name = "x"\n' + INPUT.format(slug="ada/w", path="nowhere"))
    (tmp_path / "other").mkdir()
    found = read_code_submission(folder, {"w": weights, "more": tmp_path / "other"}).settings.inputs
    assert [(one.slug, one.folder(folder)) for one in found] == [("ada/w", weights), ("more", tmp_path / "other")]
    assert found[0].licence == "MIT"


@pytest.mark.parametrize("option", ["w", "=folder", "w=", "w=no-such-folder", "../w=.", "/=."])
def test_wrong_input_option_is_refused(folder, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        read_code_submission(folder, parse_input_options([option]))


def test_kernel_metadata_names_program_gpu_and_sources(folder):
    for name in ("submission.toml", "main.py"):
        (folder / name).unlink()
    (folder / "infer.ipynb").write_text("{}")
    (folder / "other.py").write_text("pass")
    metadata = {
        "code_file": "infer.ipynb",
        "enable_gpu": "true",
        "dataset_sources": ["ada/w"],
        "kernel_sources": ["bo/features"],
        "model_sources": ["ada/net/pytorch/base/1"],
        "competition_sources": ["deepfake-detection-challenge"],
    }
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    found = read_code_submission(folder)
    assert (found.program, found.settings.gpu) == ("infer.ipynb", True)
    assert [one.mount_points for one in found.settings.inputs] == [
        ["w", "datasets/ada/w"],
        ["features", "notebooks/bo/features"],
        ["net/pytorch/base/1", "models/ada/net/pytorch/base/1"],
    ]
    assert manifest_problems(found, profiles.load()) == []  # the pages on Kaggle state the licences
    alone = read_code_submission(folder / "infer.ipynb")
    assert alone.settings.inputs == found.settings.inputs
    assert read_code_submission(folder / "other.py").settings.inputs == ()


@pytest.mark.parametrize("text", ["{", "[]", '{"dataset_sources": "ada/w"}', '{"kernel_sources": [1]}'])
def test_broken_kernel_metadata_is_the_submissions_fault(folder, text):
    (folder / "kernel-metadata.json").write_text(text)
    with pytest.raises(SubmissionError, match=r"kernel-metadata\.json"):
        read_code_submission(folder)
