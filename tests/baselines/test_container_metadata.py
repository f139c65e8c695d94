"""The baseline container-metadata: uses a leak where there is one, and predicts 0.5 where there is none."""

import json
import math
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "baselines" / "container-metadata"
SAMPLE = ROOT / "sample_data"


def python(*arguments: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-B", *map(str, arguments)], cwd=cwd, env={"PATH": os.environ["PATH"], **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_bundled_model_finds_no_leak_in_the_sample(tmp_path):
    printed = python(
        BASELINE / "train.py", SAMPLE / "train_sample_videos", "--out", tmp_path / "model.json", cwd=tmp_path
    )
    assert "No setting beats the constant" in printed
    made = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    bundled = json.loads((BASELINE / "model.json").read_text(encoding="utf-8"))
    assert made["shrinkage"] == bundled["shrinkage"] == 0
    for key in ("fields", "logits", "clip", "fallback", "held_out"):
        assert made[key] == bundled[key]
    predictions = json.loads((BASELINE / "expected.json").read_text(encoding="utf-8"))["predictions"]
    assert set(predictions.values()) == {0.5}


SIMULATION = """
import json, math, random, sys
sys.path.insert(0, sys.argv[1])
import train

def videos(seed, leak):
    rng = random.Random(seed)
    for original in range(80):
        leaks = rng.random() < leak
        for number in range(5):
            fake = number > 0
            stated = fake if leaks else rng.random() < 0.5
            yield train.Video(("16/9" if stated else "-", rng.choice(("1/48000", "1/44100"))), fake, str(original))

print(sum(train.choose(list(videos(seed, 0))) == train.CONSTANT for seed in range(20)))
print(json.dumps({leak: [train.report(list(videos(seed, leak))) for seed in range(8)] for leak in (0, 0.5, 0.9)}))
"""


def test_leak_is_used_and_noise_is_shrunk_to_the_constant(tmp_path):
    """Held-out loss on other originals, with four FAKE videos for each REAL one."""
    constant, *_, reports = python("-c", SIMULATION, BASELINE, cwd=tmp_path).splitlines()
    assert int(constant) >= 18  # of 20: two standard errors, and the best of 24 similar settings
    found = json.loads(reports)
    loss = {leak: [report["log_loss"] for report in reports] for leak, reports in found.items()}
    assert np.mean(loss["0"]) < math.log(2) + 0.005
    assert max(loss["0"]) < math.log(2) + 0.03
    assert np.mean(loss["0.5"]) < 0.63
    assert max(loss["0.5"]) < math.log(2)
    assert max(loss["0.9"]) < 0.4


def test_held_out_loss_uses_no_fitted_original(tmp_path):
    """Each original has its own time base: the table has no cell for a held-out original."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import train\n"
        "videos = [train.Video(('-', f'1/{n // 2}'), n // 2 % 2 == 0, str(n // 2)) for n in range(120)]\n"
        "print(all(loss == train.LN2 for counted, held in train.folds(videos)\n"
        "    for loss in train.losses(held, train.fit(counted, 1.0), (1.0, 1.0, 0.01))))"
    )
    assert python("-c", code, BASELINE, cwd=tmp_path) == "True\n"


def test_too_few_originals_give_the_constant(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import train\n"
        "videos = [train.Video((str(n % 2), '-'), n % 2 == 0, str(n // 2 % 9)) for n in range(90)]\n"
        "print(train.choose(videos) == train.CONSTANT, train.folds(videos))"
    )
    assert python("-c", code, BASELINE, cwd=tmp_path).split("\n")[0] == "True []"


def write(path: Path, stated: bool, rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        if stated:
            stream.codec_context.sample_aspect_ratio = Fraction(1)
        sound = container.add_stream("aac", rate=rate)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def test_leak_is_used_from_training_to_prediction(tmp_path):
    """Train on two folders where only fakes store an aspect ratio, then predict."""
    for stated, label in ((True, "FAKE"), (False, "REAL")):
        write(tmp_path / f"{label}.mp4", stated, 48000)
    write(tmp_path / "OTHER.mp4", False, 44100)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        rows = {}
        for number in range(15):
            for label in ("FAKE", "REAL"):
                name = f"{folder}{label}{number}.mp4"
                os.link(tmp_path / f"{label}.mp4", tmp_path / folder / name)
                rows[name] = {"label": label, "original": f"{folder}REAL{number}.mp4" if label == "FAKE" else None}
        (tmp_path / folder / "metadata.json").write_text(json.dumps(rows))
    model = shutil.copytree(BASELINE, tmp_path / "copy")
    (tmp_path / "a" / "aREAL0.mp4").unlink()
    printed = python(model / "train.py", tmp_path / "a", tmp_path / "b", cwd=tmp_path)
    assert "aREAL0.mp4: missing, skipped" in printed
    assert "1/1 1/48000: 30 FAKE" in printed

    videos = tmp_path / "data" / "test_videos"
    videos.mkdir(parents=True)
    for name in ("FAKE", "REAL", "OTHER"):
        shutil.copy(tmp_path / f"{name}.mp4", videos)
    rows = "filename,label\nFAKE.mp4,0\nREAL.mp4,0\nOTHER.mp4,0\n"
    (tmp_path / "data" / "sample_submission.csv").write_text(rows)
    python(model / "main.py", cwd=tmp_path, DFDC_INPUT_DIR=str(tmp_path / "data"))
    lines = (tmp_path / "submission.csv").read_text().split()
    p = {name: float(label) for name, label in (line.split(",") for line in lines[1:])}
    assert p["FAKE.mp4"] > 0.9
    assert p["REAL.mp4"] < 0.1
    assert p["OTHER.mp4"] == 0.5  # fields that the training folders did not have
    assert (tmp_path / "fallbacks.csv").read_text() == "filename,reason\n"


def test_model_for_other_fields_is_refused(tmp_path):
    folder = shutil.copytree(BASELINE, tmp_path / "copy")
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(model | {"fields": ["width"]}))
    done = subprocess.run(
        [sys.executable, "-B", folder / "main.py"], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "DFDC_INPUT_DIR": str(SAMPLE)}, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Run train.py again" in done.stderr


@pytest.mark.parametrize("name", ["garbage", "folder", "missing", "sound"])
def test_unreadable_video_gets_the_fallback_prediction_and_a_reason(name, tmp_path):
    videos = tmp_path / "data" / "test_videos"
    videos.mkdir(parents=True)
    (tmp_path / "data" / "sample_submission.csv").write_text(f"filename,label\n{name}.mp4,0\n")
    reason = {"garbage": "unreadable", "folder": "unreadable", "missing": "missing", "sound": "no-video-stream"}[name]
    if name == "garbage":
        (videos / "garbage.mp4").write_bytes(b"no video" * 100)
    elif name == "folder":
        (videos / "folder.mp4").mkdir()
    elif name == "sound":
        with av.open(str(videos / "sound.mp4"), "w") as container:
            stream = container.add_stream("aac", rate=48000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    python(BASELINE / "main.py", cwd=tmp_path, DFDC_INPUT_DIR=str(tmp_path / "data"))
    assert (tmp_path / "submission.csv").read_text() == f"filename,label\n{name}.mp4,0.5\n"
    assert (tmp_path / "fallbacks.csv").read_text() == f"filename,reason\n{name}.mp4,{reason}\n"
