"""The audit: named defects, what only files show, and what containers give away."""

import json
import shlex
import shutil
import tomllib
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.audit import evidence as leaks
from dfdc_kit.data.audit.audit import AuditReport, audit
from dfdc_kit.data.audit.rules import RULES
from dfdc_kit.data.inspection import list_videos, same_size
from dfdc_kit.data.video_header import read_header
from dfdc_kit.errors import KitError

CHALLENGE = challenges.load()
CASES = sorted(path.parent for path in (Path(__file__).parents[1] / "cases" / "audit").glob("*/expect.toml"))


def existing(path: Path) -> Path | None:
    return path if path.exists() else None


# ------------------------------------------------------------------------------------------------------- named defects


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_audit_case(case: Path):
    expect = tomllib.loads((case / "expect.toml").read_text("utf-8"))
    options = {
        "split": existing(case / "split.csv"),
        "submission": existing(case / "submission.csv"),
        "open_videos": False,
    }
    if "error" in expect:
        with pytest.raises(KitError) as caught:
            audit([case / "data"], CHALLENGE, **options)
        assert caught.value.code == expect["error"]
        assert caught.value.hint or caught.value.command
        for said in expect["said"]:
            assert said in str(caught.value)
        return
    report = audit([case / "data"], CHALLENGE, **options)
    assert codes(report) == expect["findings"]
    if "said" in expect:
        assert expect["said"] in [example for found in report.findings for example in found.examples]
    assert all(found.what and found.fix and len(found.examples) <= 5 for found in report.findings)


def codes(report: AuditReport) -> list[str]:
    return [f"{found.severity} {found.code} {found.count}" for found in report.findings]


def test_every_finding_code_has_a_test():
    """A rule that no test sees break is a rule that may be broken."""
    source = "".join(path.read_text("utf-8") for path in Path(leaks.__file__).parent.glob("*.py"))
    tests = Path(__file__).read_text("utf-8") + "".join((case / "expect.toml").read_text("utf-8") for case in CASES)
    known = [
        word for word in source.replace("(", " ").replace(",", " ").split() if word.startswith('"') and "-" in word
    ]
    found = {word.strip('"') for word in known if word.strip('"').replace("-", "").isalpha() and word.endswith('"')}
    assert len(found) >= len(RULES)
    assert {code for code in found if code not in tests} == set()


# ---------------------------------------------------------------------------------------------------- what files show

SERIAL = count()


def clip(path: Path, *, aspect_ratio: str = "", rate: int = 48000) -> Path:
    """A tiny clip with bytes of its own; `aspect_ratio` is that of a pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        if aspect_ratio:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect_ratio)
        sound = container.add_stream("aac", rate=rate)
        pixels = np.full((64, 64, 3), next(SERIAL) % 256, np.uint8)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return unique(path)


def unique(path: Path) -> Path:
    """The same video with a number at its end, in a box that players skip."""
    with path.open("ab") as file:
        file.write(b"\x00\x00\x00\x10free%08d" % next(SERIAL))
    return path


@pytest.fixture
def data(tmp_path) -> Path:
    """Two pairs in a training folder, one video in the public test."""
    folder = tmp_path / "data"
    metadata = {}
    for number in (1, 2):
        for name, entry in {f"r{number}": {"label": "REAL"}, f"f{number}": {"label": "FAKE"}}.items():
            entry |= {"split": "train", "original": f"r{number}.mp4" if entry["label"] == "FAKE" else None}
            metadata[f"{name}.mp4"] = entry
            clip(folder / "train_sample_videos" / f"{name}.mp4")
    (folder / "train_sample_videos" / "metadata.json").write_text(json.dumps(metadata))
    clip(folder / "test_videos" / "t1.mp4")
    return folder


def split_csv(folder: Path, **folds: str) -> Path:
    path = folder.parent / "split.csv"
    path.write_text("filename,fold\n" + "".join(f"{name}.mp4,{fold}\n" for name, fold in folds.items()))
    return path


SOUND = {"r1": "train", "f1": "train", "r2": "validation", "f2": "validation"}


def test_audit_of_valid_data_finds_nothing(data):
    report = audit([data], CHALLENGE, split=split_csv(data, **SOUND))
    assert report.findings == []
    assert (report.videos, report.files, report.errors) == (4, 5, 0)


def test_audit_of_the_bundled_sample_finds_nothing(sample, tmp_path):
    report = audit([sample], CHALLENGE, cache=tmp_path)
    assert report.findings == []
    assert report.files == 32


@pytest.mark.parametrize(
    ("source", "copy", "found"),
    [
        ("train_sample_videos/r1", "train_sample_videos/f1", ["error copy-with-another-label 1"]),
        ("train_sample_videos/r1", "train_sample_videos/r2", ["error copy-in-both-folds 1"]),
        (
            "test_videos/t1",
            "train_sample_videos/r2",
            ["error public-test-as-validation 1", "warning public-test-in-training 1"],
        ),
        ("test_videos/t1", "train_sample_videos/r1", ["warning public-test-in-training 1"]),
        ("train_sample_videos/r1", "train_sample_videos/other", ["warning copies 1", "warning unlabelled-file 1"]),
    ],
)
def test_audit_finds_copies_by_content(data, source, copy, found):
    shutil.copy(data / f"{source}.mp4", data / f"{copy}.mp4")
    assert codes(audit([data], CHALLENGE, split=split_csv(data, **SOUND))) == found


def test_audit_ignores_links_to_the_same_file(data):
    link = data / "train_sample_videos" / "f1.mp4"
    link.unlink()
    link.symlink_to(data / "train_sample_videos" / "r1.mp4")
    assert not audit([data], CHALLENGE).findings


def test_only_files_of_equal_size_are_hashed(data):
    with (data / "test_videos" / "t1.mp4").open("ab") as file:
        file.write(b"\x00\x00\x00\x08free")
    files = [
        *list_videos(data / "train_sample_videos", ".mp4").values(),
        *list_videos(data / "test_videos", ".mp4").values(),
    ]
    assert sorted(path.name for path in same_size(files)) == ["f1.mp4", "f2.mp4", "r1.mp4", "r2.mp4"]


def test_audit_names_broken_and_missing_files(data):
    train = data / "train_sample_videos"
    train.joinpath("f1.mp4").write_bytes(b"")
    train.joinpath("f2.mp4").unlink()
    report = audit([data], CHALLENGE)
    assert codes(report) == ["warning broken-file 1", "warning missing-file 1"]
    assert report.findings[0].examples == ["train_sample_videos/f1.mp4: empty, 0 bytes"]
    assert report.findings[1].examples == ["train_sample_videos/f2.mp4"]


# ------------------------------------------------------------------------------------------- what containers give away


def write_pairs(folder: Path, pairs: int, fake: dict, real: dict) -> None:
    """`pairs` originals and their fakes: one clip of each kind, under many names, each with bytes of its own."""
    kinds = {"FAKE": clip(folder.parent / "fake.mp4", **fake), "REAL": clip(folder.parent / "real.mp4", **real)}
    folder.mkdir()
    metadata = {}
    for number in range(pairs):
        for label, template in kinds.items():
            name = f"{label[0].lower()}{number}.mp4"
            shutil.copy(template, folder / name)
            unique(folder / name)
            metadata[name] = {"label": label, "original": f"r{number}.mp4" if label == "FAKE" else None}
    (folder / "metadata.json").write_text(json.dumps(metadata))


def test_audit_finds_a_leak_when_only_fakes_state_an_aspect_ratio(tmp_path):
    """As in the challenge's own files: originals do not state it, fakes do."""
    write_pairs(tmp_path / "data", 20, {"aspect_ratio": "1"}, {})
    report = audit([tmp_path / "data"], CHALLENGE)
    assert codes(report) == ["warning container-leak 40"]
    assert report.leak.log_loss < 0.2
    assert "aspect ratio 1/1, audio 1/48000: 20 FAKE, 0 REAL, so 0.95" in report.findings[0].examples
    assert "aspect ratio not stated, audio 1/48000: 0 FAKE, 20 REAL, so 0.05" in report.findings[0].examples


def test_audit_finds_no_leak_when_containers_are_alike(tmp_path):
    write_pairs(tmp_path / "data", 20, {"rate": 44100}, {"rate": 44100})
    report = audit([tmp_path / "data"], CHALLENGE)
    assert report.findings == []
    assert not report.leak.is_significant
    assert report.leak.log_loss == pytest.approx(report.leak.constant, abs=0.02)


def test_read_header_reads_the_fields_of_the_container(tmp_path):
    header = read_header(clip(tmp_path / "a.mp4", aspect_ratio="1", rate=44100))
    assert (header.width, header.height, header.frames, header.frame_rate) == (64, 64, 2, "25/1")
    assert (header.display_aspect_ratio, header.audio_time_base) == ("1/1", "1/44100")
    assert read_header(clip(tmp_path / "b.mp4")).display_aspect_ratio == ""


# ---------------------------------------------------------------------------------------------------------- the command


def test_audit_command_prints_findings_and_exits_1_on_errors(dfdc, data):
    split = split_csv(data, r1="train", f1="validation", r2="train", f2="validation")
    done = dfdc("audit", data, "--split", split)
    assert done.returncode == 1
    assert "error original-in-both-folds (2): originals have videos" in done.stdout
    assert "AUDIT FAILED: 1 error, 1 warning" in done.stdout
    report = json.loads(dfdc("audit", data, "--split", split, "--json").stdout)
    assert [found["code"] for found in report["findings"]] == ["original-in-both-folds", "class-balance"]
    sound = dfdc("audit", data, "--metadata-only")
    assert (sound.returncode, sound.stderr) == (0, "")
    assert "AUDITED, METADATA ONLY: nothing found" in sound.stdout
    missing = dfdc("audit", data / "nowhere")
    assert missing.returncode == 3
    assert "hint: Expected: a metadata.json" in missing.stderr


# ------------------------------------------------------------------------------------- rule outcomes, and small samples


def outcomes(report: AuditReport) -> dict[str, str]:
    return {result.rule: result.outcome for result in report.rules}


def test_audit_reports_the_outcome_of_every_rule(data):
    without = audit([data], CHALLENGE, open_videos=False)
    assert [result.rule for result in without.rules] == [rule.name for rule in RULES]
    assert outcomes(without)["container leak"] == outcomes(without)["copies"] == "not tested"
    assert outcomes(without)["original in both folds"] == "not tested"
    assert all(result.reason for result in without.rules if result.outcome == "not tested")
    full = audit([data], CHALLENGE, split=split_csv(data, **SOUND))
    assert outcomes(full)["copies"] == outcomes(full)["original in both folds"] == "passed"
    assert "too few" in next(result.reason for result in full.rules if result.rule == "container leak")


def test_audit_finds_a_perfect_leak_in_a_small_sample(tmp_path):
    write_pairs(tmp_path / "data", 6, {"aspect_ratio": "1"}, {})
    report = audit([tmp_path / "data"], CHALLENGE)
    assert codes(report) == ["warning container-leak 12"]
    assert any("aspect ratio 1/1: 6 of 6 FAKE, 0 of 6 REAL" in example for example in report.findings[0].examples)
    assert outcomes(report)["container leak"] == "found"


def test_exact_test_passes_when_small_samples_are_alike(tmp_path):
    write_pairs(tmp_path / "data", 6, {}, {})
    report = audit([tmp_path / "data"], CHALLENGE)
    assert report.findings == []
    assert outcomes(report)["container leak"] == "passed"


def test_audit_command_exits_3_when_no_video_is_present(dfdc, data):
    shutil.rmtree(data / "test_videos")
    for path in (data / "train_sample_videos").glob("*.mp4"):
        path.unlink()
    done = dfdc("audit", data)
    assert done.returncode == 3
    assert "None of the 4 videos is present" in done.stderr
    assert "not tested: copies, container leak, broken files (no video was opened)" in done.stdout
    (command,) = next_commands(done.stderr)
    assert dfdc(*command).returncode == 0


def next_commands(text: str) -> list[list[str]]:
    """The arguments of each `next:` line."""
    return [shlex.split(line.split("next: dfdc ")[1]) for line in text.splitlines() if "next: dfdc " in line]


def test_audit_after_the_advice_on_copies_finds_no_copy_in_both_folds(dfdc, data, tmp_path):
    """The same video under two names, in training and validation: the split it advises leaves one out."""
    videos = data / "train_sample_videos"
    labels = json.loads((videos / "metadata.json").read_text())
    for number in range(3, 9):
        labels |= {
            f"r{number}.mp4": {"label": "REAL"},
            f"f{number}.mp4": {"label": "FAKE", "original": f"r{number}.mp4"},
        }
    (videos / "metadata.json").write_text(json.dumps(labels))
    shutil.copy(videos / "r1.mp4", videos / "r2.mp4")
    done = dfdc("audit", data, "--split", split_csv(data, **SOUND))
    assert "copy-in-both-folds" in done.stdout
    assert dfdc(*next_commands(done.stdout)[0]).returncode == 0
    again = dfdc("audit", data, "--split", "split")
    assert "copy-in-both-folds" not in again.stdout


def test_audit_shows_five_examples_and_all_with_all(dfdc, tmp_path):
    labels = {f"f{number}.mp4": {"label": "FAKE", "original": f"r{number}.mp4"} for number in range(9)}
    (tmp_path / "metadata.json").write_text(json.dumps(labels | {"r.mp4": {"label": "REAL"}}))
    few = dfdc("audit", tmp_path, "--metadata-only").stdout
    assert ("r4.mp4" in few, "r5.mp4" in few, "and 4 more" in few) == (True, False, True)
    every = dfdc("audit", tmp_path, "--metadata-only", "--all").stdout
    assert "r8.mp4" in every
    report = json.loads(dfdc("audit", tmp_path, "--metadata-only", "--json").stdout)
    assert len(next(one for one in report["findings"] if one["code"] == "missing-original")["examples"]) == 9


def test_copies_of_two_videos_are_no_evidence_of_a_container_leak(sample, tmp_path):
    videos = sorted((sample / "train_sample_videos").glob("*.mp4"))[:2]
    rows = [(f"{i}.mp4", i % 2) for i in range(24)]
    for name, label in rows:
        shutil.copy(videos[label], tmp_path / name)
    (tmp_path / "labels.csv").write_text("filename,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    report = audit([tmp_path], CHALLENGE)
    assert report.leak is None
    assert next(rule for rule in report.rules if rule.rule == "container leak").outcome == "not tested"
