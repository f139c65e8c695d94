"""Label files and the catalogue made from them: finding, joining, and the labels command."""

import json
from pathlib import Path

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.catalogue import Catalogue, find_label_files, part_number, read_catalogue
from dfdc_kit.errors import DataMissingError, UsageError

CHALLENGE = challenges.load()


@pytest.fixture
def parts(tmp_path) -> Path:
    """Two parts, one of whose REAL rows have `original: null` and the other's no such key; and loose metadata."""
    for part, real in ((0, {"original": None}), (1, {})):
        folder = tmp_path / "data" / f"dfdc_train_part_{part}"
        folder.mkdir(parents=True)
        rows = {
            f"r{part}.mp4": {"label": "REAL", "split": "train", **real},
            f"f{part}.mp4": {"label": "FAKE", "split": "train", "original": f"r{part}.mp4"},
        }
        (folder / "metadata.json").write_text(json.dumps(rows))
    (tmp_path / "dfdc_train_part_07.metadata.json").write_text('{"x,y.mp4": {"label": "REAL"}}')
    return tmp_path / "data"


def test_labels_command_writes_one_solution_from_all_files(dfdc, parts, tmp_path):
    done = dfdc("data", "labels", parts, tmp_path / "dfdc_train_part_07.metadata.json", "--out", "out.csv")
    assert done.returncode == 0
    assert "5 videos, 2 FAKE and 3 REAL, from 3 files" in done.stdout
    written = (tmp_path / "out.csv").read_bytes()
    assert written == b'filename,label\nf0.mp4,1\nf1.mp4,1\nr0.mp4,0\nr1.mp4,0\n"x,y.mp4",0\n'
    report = json.loads(dfdc("data", "labels", parts / "dfdc_train_part_0", "--json").stdout)
    assert (report["path"], report["rows"], report["fake"]) == ("solution.csv", 2, 1)
    assert dfdc("score", tmp_path / "out.csv", tmp_path / "out.csv").returncode == 0


def test_labels_command_writes_nothing_when_files_contradict(dfdc, parts, tmp_path):
    (tmp_path / "solution.csv").write_text("mine")
    again = parts / "again.metadata.json"
    again.write_text('{"r0.mp4": {"label": "FAKE", "original": "q.mp4"}}')
    done = dfdc("data", "labels", parts, again)
    assert done.returncode == 3
    message = " ".join(done.stderr.split())
    assert "contradict each other about 1 video:" in message
    assert "dfdc_train_part_0/metadata.json" in done.stderr
    assert "again.metadata.json" in done.stderr
    assert (tmp_path / "solution.csv").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if "solution" in path.name) == ["solution.csv"]


def test_catalogue_has_a_video_once_when_two_files_agree(parts):
    sample = parts / "train_sample_videos"
    sample.mkdir()
    (sample / "metadata.json").write_text('{"r0.mp4": {"label": "REAL"}, "f0.mp4": {"label": "FAKE"}}')
    catalogue = read(parts)
    assert len(catalogue) == 4
    assert dict(zip(catalogue.names, catalogue.source_videos(), strict=True))["f0.mp4"] == "r0.mp4"
    assert {catalogue.folder_name(i) for i in range(4)} == {"dfdc_train_part_0", "dfdc_train_part_1"}


def read(*paths: Path) -> Catalogue:
    return read_catalogue(paths, CHALLENGE)


def test_catalogue_reads_each_label_file_once(parts):
    part = parts / "dfdc_train_part_0"
    assert len(read(parts, part, part / "metadata.json", part / ".." / "dfdc_train_part_0").label_files) == 2
    assert [file.parent.name for file in find_label_files(parts, CHALLENGE)] == [
        "dfdc_train_part_0",
        "dfdc_train_part_1",
    ]
    with pytest.raises(DataMissingError, match="contains no labels"):
        find_label_files(Path(__file__).parents[1] / "benchmarks", CHALLENGE)
    with pytest.raises(UsageError, match=r"seen a .py, expected labels: .json or .csv"):
        find_label_files(Path(__file__), CHALLENGE)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("dfdc_train_part_0", 0), ("dfdc_train_part_49", 49), ("dfdc_train_part_07", 7),
        ("dfdc_train_part_", -1), ("dfdc_train_part_x", -1), ("train_sample_videos", -1), ("my_dfdc_train_part_1", -1),
    ],
)  # fmt: skip
def test_part_number_of_a_folder_name(name, part):
    assert part_number(name, CHALLENGE) == part
