"""docs/train_on_made.py: which clips of a made challenge are trained on."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("train_on_made", ROOT / "docs/train_on_made.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_people_of_the_samples_tests_are_left_out_of_training_but_not_of_the_private_part(script, tmp_path):
    made = tmp_path / "made"
    (made / "provenance").mkdir(parents=True)
    rows = [
        "a.mp4,train,REAL,,ada",
        "b.mp4,train,FAKE,a.mp4,ada p19",
        "c.mp4,Public,REAL,,p01",
        "d.mp4,Private,REAL,,p02",
        "e.mp4,Private,FAKE,d.mp4,p02 p25",
    ]
    (made / "provenance/clips.csv").write_text("\n".join(["filename,part,label,original,people", *rows, ""]))
    left_out = script.sample_test_people()
    assert {"p19", "p25"} <= left_out
    assert script.link_folders(made, tmp_path / "out", left_out) == {"train": 1, "Public": 1, "Private": 2}
    assert json.loads((tmp_path / "out/train/metadata.json").read_text()) == {
        "a.mp4": {"label": "REAL", "original": None}
    }
    assert (tmp_path / "out/Public/c.mp4").is_symlink()
