"""The audit: named defects, what only files show, and what containers give away."""

import json
import shutil
import tomllib
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.audit import evidence
from dfdc_kit.data.audit.audit import AuditReport, audit
from dfdc_kit.data.audit.rules import RULES
from dfdc_kit.data.video_header import Header, read_header
from dfdc_kit.errors import KitError

CHALLENGE = challenges.load()
CASES = sorted(path.parent for path in (Path(__file__).parents[1] / "cases" / "audit").glob("*/expect.toml"))


def there(path: Path) -> Path | None:
    return path if path.exists() else None


# ------------------------------------------------------------------------------------------------------- named defects


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_named_defect(case: Path):
    expect = tomllib.loads((case / "expect.toml").read_text("utf-8"))
    options = {"split": there(case / "split.csv"), "submission": there(case / "submission.csv"), "open_videos": False}
    if "error" in expect:
        with pytest.raises(KitError) as caught:
            audit([case / "data"], CHALLENGE, **options)
        assert caught.value.code == expect["error"]
        assert caught.value.hint
        for said in expect["said"]:
            assert said in str(caught.value)
        return
    report = audit([case / "data"], CHALLENGE, **options)
    assert codes(report) == expect["findings"]
    if "said" in expect:
        assert expect["said"] in [example for found in report.findings for example in found.examples]
    assert all(found.what and found.mend and len(found.examples) <= 5 for found in report.findings)


def codes(report: AuditReport) -> list[str]:
    return [f"{found.severity} {found.code} {found.count}" for found in report.findings]


def test_every_finding_has_a_case():
    """A rule that no test sees break is a rule that may be broken."""
    source = "".join(path.read_text("utf-8") for path in Path(evidence.__file__).parent.glob("*.py"))
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


def split_csv(folder: Path, **sides: str) -> Path:
    path = folder.parent / "split.csv"
    path.write_text("filename,side\n" + "".join(f"{name}.mp4,{side}\n" for name, side in sides.items()))
    return path


SOUND = {"r1": "train", "f1": "train", "r2": "validation", "f2": "validation"}


def test_sound_data(data):
    report = audit([data], CHALLENGE, split=split_csv(data, **SOUND))
    assert report.findings == []
    assert (report.videos, report.files, report.errors) == (4, 5, 0)


def test_the_bundled_sample_has_nothing_to_hide(sample, tmp_path):
    report = audit([sample], CHALLENGE, state=tmp_path / "state")
    assert report.findings == []
    assert report.files == 32


@pytest.mark.parametrize(
    ("source", "copy", "found"),
    [
        ("train_sample_videos/r1", "train_sample_videos/f1", ["error copy-with-another-label 1"]),
        ("train_sample_videos/r1", "train_sample_videos/r2", ["error copy-on-both-sides 1"]),
        (
            "test_videos/t1",
            "train_sample_videos/r2",
            ["error public-test-as-validation 1", "warning public-test-in-training 1"],
        ),
        ("test_videos/t1", "train_sample_videos/r1", ["warning public-test-in-training 1"]),
        ("train_sample_videos/r1", "train_sample_videos/other", ["warning copies 1", "warning unlabelled-file 1"]),
    ],
)
def test_copies(data, source, copy, found):
    shutil.copy(data / f"{source}.mp4", data / f"{copy}.mp4")
    assert codes(audit([data], CHALLENGE, split=split_csv(data, **SOUND))) == found


def test_another_name_of_the_same_file_is_no_copy(data):
    link = data / "train_sample_videos" / "f1.mp4"
    link.unlink()
    link.symlink_to(data / "train_sample_videos" / "r1.mp4")
    assert not audit([data], CHALLENGE).findings


def test_only_files_of_one_size_are_read_whole(data, monkeypatch):
    from dfdc_kit.data import inspection

    read = []
    monkeypatch.setattr(inspection, "sha256_of", lambda path: read.append(path.name) or "digest")
    with (data / "test_videos" / "t1.mp4").open("ab") as file:
        file.write(b"\x00\x00\x00\x08free")
    audit([data], CHALLENGE)
    assert sorted(read) == ["f1.mp4", "f2.mp4", "r1.mp4", "r2.mp4"]


def test_broken_and_missing_files(data):
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


def test_a_stated_aspect_ratio_gives_fakes_away(tmp_path):
    """As in the challenge's own files: originals do not state it, fakes do."""
    write_pairs(tmp_path / "data", 20, {"aspect_ratio": "1"}, {})
    report = audit([tmp_path / "data"], CHALLENGE)
    assert codes(report) == ["warning container-leak 40"]
    assert report.leak.log_loss < 0.2
    assert "aspect ratio 1/1, sound 1/48000: 20 FAKE, 0 REAL, so 0.95" in report.findings[0].examples
    assert "aspect ratio not said, sound 1/48000: 0 FAKE, 20 REAL, so 0.05" in report.findings[0].examples


def test_containers_made_alike_give_nothing_away(tmp_path):
    write_pairs(tmp_path / "data", 20, {"rate": 44100}, {"rate": 44100})
    report = audit([tmp_path / "data"], CHALLENGE)
    assert report.findings == []
    assert not report.leak.is_one
    assert report.leak.log_loss == pytest.approx(report.leak.constant, abs=0.02)


def test_what_is_read_of_a_container(tmp_path):
    header = read_header(clip(tmp_path / "a.mp4", aspect_ratio="1", rate=44100))
    assert (header.width, header.height, header.frames, header.frame_rate) == (64, 64, 2, "25/1")
    assert (header.display_aspect_ratio, header.audio_time_base) == ("1/1", "1/44100")
    assert read_header(clip(tmp_path / "b.mp4")).display_aspect_ratio == ""


def header(aspect_ratio: str, time_base: str) -> Header:
    return Header(
        width=1, height=1, frames=1, duration_s=1, frame_rate="1/1",
        display_aspect_ratio=aspect_ratio, audio_time_base=time_base,
    )  # fmt: skip


def drawn(seed: int, videos: int, share_told: float) -> tuple[list[Header], np.ndarray, list[str]]:
    """Videos of `videos / 5` originals, 80 % FAKE; in `share_told` of the originals, containers tell the label."""
    rng = np.random.default_rng(seed)
    originals = rng.integers(0, videos // 5, videos)
    fake = rng.random(videos) < 0.8
    told = rng.random(videos // 5)[originals] < share_told
    ratio = np.where(told, fake, rng.random(videos) < 0.5)
    clock = rng.random(videos) < 0.5
    headers = [header("16/9" if r else "", "1/48000" if c else "1/44100") for r, c in zip(ratio, clock, strict=True)]
    return headers, fake, originals.astype(str).tolist()


def test_chance_is_rarely_called_a_leak_and_a_leak_always():
    chance = [evidence.measure(*drawn(seed, 400, 0.0)) for seed in range(40)]
    assert sum(found.is_one for found in chance) <= 3  # two standard errors: one in forty
    for share, limit in ((0.5, 0.62), (0.9, 0.3)):
        found = [evidence.measure(*drawn(seed, 400, share)) for seed in range(10)]
        assert all(one.is_one for one in found)
        assert np.mean([one.log_loss for one in found]) < limit


PUBLISHED = {  # counts in a public notebook about the training set, fakes weighed down to the number of originals
    ("", "1/48000"): (174, 1477 - 174),
    ("16/9", "1/48000"): (1407, 1873 - 1407),
    ("9/16", "1/48000"): (70, 178 - 70),
    ("16/9", "1/44100"): (156, 206 - 156),
    ("9/16", "1/44100"): (182, 241 - 182),
}


def test_the_published_counts_are_worth_what_was_published():
    """0.4927 is what participants reported; here each video is an original of its own."""
    headers = [header(*pair) for pair, counts in PUBLISHED.items() for _ in range(sum(counts))]
    fake = np.concatenate([np.arange(sum(counts)) < counts[0] for counts in PUBLISHED.values()])
    found = evidence.measure(headers, fake, [str(i) for i in range(len(fake))])
    assert found.is_one
    assert found.log_loss == pytest.approx(0.4927, abs=0.005)
    assert [(cell.fake, cell.real) for cell in found.cells[:2]] == [(1407, 466), (174, 1303)]


def test_the_loss_is_that_of_held_out_originals():
    """Each original has a clock of its own: the table knows all of them, and none of those held out."""
    originals = [str(i // 2) for i in range(200)]
    fake = np.arange(200) // 2 % 2 == 0
    found = evidence.measure([header("", name) for name in originals], fake, originals)
    assert found.log_loss == pytest.approx(found.constant)
    assert not found.is_one


def test_both_classes_weigh_the_same():
    """Nine FAKE to one REAL in every cell: the answer is a half, whatever the share of FAKE."""
    table = evidence.fit([("16/9", "")] * 100 + [("", "")] * 100, np.tile(np.arange(10) > 0, 20))
    assert list(table.values()) == pytest.approx([0.5, 0.5])


def test_too_few_originals_tell_nothing():
    headers, fake, _ = drawn(0, 200, 1.0)
    assert evidence.measure(headers, fake, [str(i % 9) for i in range(200)]) is None
    assert evidence.measure([], np.zeros(0, np.bool_), []) is None


# ---------------------------------------------------------------------------------------------------------- the command


def test_command(dfdc, data):
    split = split_csv(data, r1="train", f1="validation", r2="train", f2="validation")
    done = dfdc("audit", data, "--split", split)
    assert done.returncode == 1
    assert "error original-on-both-sides (2): originals have videos" in done.stdout
    assert "AUDIT FAILED: 1 error, 1 warning" in done.stdout
    report = json.loads(dfdc("audit", data, "--split", split, "--json").stdout)
    assert [found["code"] for found in report["findings"]] == ["original-on-both-sides", "class-balance"]
    sound = dfdc("audit", data, "--metadata-only")
    assert (sound.returncode, sound.stderr) == (0, "")
    assert "AUDITED: nothing found" in sound.stdout
    missing = dfdc("audit", data / "nowhere")
    assert missing.returncode == 3
    assert "hint: Expected: a metadata.json" in missing.stderr
