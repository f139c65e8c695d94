"""The truth, from a CSV, from the challenge's metadata.json in both its forms, or from a folder that holds one."""

import json

import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.solution import holds_solution, read_solution
from dfdc_kit.errors import DataError, DataMissingError

CHALLENGE = challenges.load()


@pytest.fixture
def write(tmp_path):
    def call(name: str, content: object) -> object:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return call


@pytest.mark.parametrize("real", [{"original": None}, {}], ids=["original-null", "no-original"])
def test_metadata(write, real):
    fake = {"label": "FAKE", "split": "train", "original": "b.mp4"}
    path = write("metadata.json", {"a.mp4": fake, "b.mp4": {"label": "REAL", "split": "train", **real}})
    solution = read_solution(path, CHALLENGE)
    assert solution.ids.tolist() == [b"a.mp4", b"b.mp4"]
    assert solution.labels.tolist() == [1, 0]
    assert solution.labels.dtype == np.uint8
    assert solution.usage is None
    frame = solution.frame()
    assert frame.to_dict("list") == {"filename": ["a.mp4", "b.mp4"], "label": [1, 0]}


def test_csv_with_usage_and_more(write):
    path = write("solution.csv", "label,note,filename,Usage\r\n1,x,a.mp4,Public\r\n0,y,b.mp4,Private\r\n")
    solution = read_solution(path, CHALLENGE)
    assert solution.usage.tolist() == [b"Public", b"Private"]
    assert list(solution.frame().columns) == ["filename", "label", "Usage"]
    assert solution.frame()["label"].tolist() == [1, 0]


@pytest.mark.parametrize("name", ["metadata.json", "solution.csv", "labels.csv", "solution/solution.csv"])
def test_folder_that_holds_one(write, tmp_path, name):
    write(name, {"a.mp4": {"label": "FAKE"}} if name.endswith("json") else "filename,label\na.mp4,1\n")
    assert holds_solution(tmp_path, CHALLENGE)
    assert read_solution(tmp_path, CHALLENGE).labels.tolist() == [1]


def test_folder_with_none_or_several(write, tmp_path):
    assert not holds_solution(tmp_path, CHALLENGE)
    with pytest.raises(DataMissingError, match="holds no solution"):
        read_solution(tmp_path, CHALLENGE)
    write("metadata.json", {"a.mp4": {"label": "FAKE"}})
    write("labels.csv", "filename,label\na.mp4,1\n")
    with pytest.raises(DataMissingError, match=r"more than one solution: metadata.json, labels.csv"):
        read_solution(tmp_path, CHALLENGE)
    with pytest.raises(DataMissingError, match="There is no solution"):
        read_solution(tmp_path / "none.csv", CHALLENGE)


def test_sample_data(sample):
    assert read_solution(sample, CHALLENGE).labels.sum() == 8
    assert len(read_solution(sample / "train_sample_videos", CHALLENGE).ids) == 16


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a.mp4": {"label": "MAYBE"}}', "'a.mp4': label: seen 'MAYBE', expected FAKE or REAL"),
        ('{"a.mp4": {"label": 1}}', "label: seen 1, expected FAKE or REAL"),
        ('{"a.mp4": {"label": ["FAKE"]}}', "label: seen .'FAKE'., expected FAKE or REAL"),
        ('{"a.mp4": {}}', "expected an object with a label"),
        ('{"a.mp4": "FAKE"}', "seen 'FAKE', expected an object with a label"),
        ('{"a.mp4": {"label": "FAKE", "original": 3}}', "original: seen 3, expected a name"),
        ('{"a.mp4": {"label": "FAKE"}, "a.mp4": {"label": "REAL"}}', "'a.mp4' stands in it more than once"),
        ('{"": {"label": "FAKE"}}', "expected a file name"),
        ('{"\\ud800.mp4": {"label": "FAKE"}}', "expected a file name"),
        ("[1, 2]", "seen a JSON list"),
        ('{"a.mp4": ', "not the JSON of the challenge"),
        ("[" * 100_000, "not the JSON of the challenge"),
        ("{}", "names no video"),
    ],
)
def test_broken_metadata(write, content, said):
    path = write("metadata.json", content)
    with pytest.raises(DataError, match=said) as caught:
        read_solution(path, CHALLENGE)
    assert str(path) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("filename,label\na.mp4,0.5\nb.mp4,\n", r"line 2, label: seen '0.5', expected 0 .REAL. or 1 .the first of 2"),
        ("filename,label\na.mp4,FAKE\n", "seen 'FAKE', expected 0"),
        ("filename,label\na.mp4,1\na.mp4,0\n", "line 3, filename: seen 'a.mp4', expected each name once"),
        ("filename,label\n,1\n", "line 2, filename: seen '', expected a file name"),
        ("filename,label,Usage\na.mp4,1,public\n", "line 2, Usage: seen 'public', expected Public, Private, Ignored"),
        ("filename,truth\na.mp4,1\n", "line 1: seen 'filename,truth', expected one column label"),
        ("filename,label,label\na.mp4,1,1\n", "expected one column label"),
        ("filename,label\na.mp4,1,2\n", "line 2: row-width, seen 'a.mp4,1,2'"),
        ("", "file-empty"),
        ("filename,label\n", "names no video"),
    ],
)
def test_broken_csv(write, content, said):
    path = write("solution.csv", content)
    with pytest.raises(DataError, match=said) as caught:
        read_solution(path, CHALLENGE)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "is_solution"),
    [
        ("filename,label\na.mp4,0\nb.mp4,0\n", False),
        ("filename,label\na.mp4,1\nb.mp4,0\n", True),
        ("filename,label,Usage\na.mp4,0,Public\n", True),
        ("filename,label\na.mp4,0.5\nb.mp4,0\n", False),
        ("filename,label\na.mp4,0.5\nb.mp4,0.5\n", False),
    ],
)
def test_which_csv_is_a_solution(write, content, is_solution):
    assert holds_solution(write("x.csv", content), CHALLENGE) == is_solution


def test_a_sample_submission_is_not_the_truth(sample, dfdc, tmp_path):
    """Its 0 in every row would call all videos REAL, and no score would look strange."""
    done = dfdc("score", sample / "sample_submission.csv", sample / "sample_submission.csv")
    assert done.returncode == 3
    assert "calls all 16 videos REAL (0), as a sample submission does" in done.stderr
    done = dfdc("run", "baselines/constant", "--solution", sample / "sample_submission.csv", cwd=sample.parent)
    assert done.returncode == 3
    rows = (sample / "sample_submission.csv").read_text().split()
    said = tmp_path / "truth.csv"
    said.write_text("\n".join([rows[0] + ",Usage", *(f"{row},Public" for row in rows[1:])]) + "\n")
    assert dfdc("score", sample / "sample_submission.csv", said).returncode == 0
