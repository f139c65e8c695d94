"""Labels and solutions: from a metadata.json, from CSVs as people keep them, from a folder that contains one."""

import json

import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.labels import read_label_rows
from dfdc_kit.data.solution import contains_solution, read_solution, solution_for
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


@pytest.mark.parametrize(
    "content",
    [
        '{"a.mp4": "FAKE", "b.mp4": "REAL"}',
        '{"a.mp4": {"label": 1}, "b.mp4": {"label": 0}}',
        '{"a.mp4": {"label": "fake"}, "b.mp4": {"label": "real"}}',
        '{"a": {"label": "FAKE"}, "b": {"label": "REAL"}}',
    ],
)
def test_json_as_people_keep_it_is_read(write, content):
    rows = read_label_rows(write("labels.json", content), CHALLENGE)
    assert (rows.ids.tolist(), rows.labels.tolist()) == ([b"a.mp4", b"b.mp4"], [1, 0])


@pytest.mark.parametrize("real", [{"original": None}, {}], ids=["original-null", "no-original"])
def test_metadata_json_is_read_with_and_without_original(write, real):
    fake = {"label": "FAKE", "split": "train", "original": "b.mp4"}
    path = write("metadata.json", {"a.mp4": fake, "b.mp4": {"label": "REAL", "split": "train", **real}})
    solution = read_solution(path, CHALLENGE)
    assert solution.ids.tolist() == [b"a.mp4", b"b.mp4"]
    assert solution.labels.tolist() == [1, 0]
    assert solution.labels.dtype == np.uint8
    assert solution.usage is None
    frame = solution.frame()
    assert frame.to_dict("list") == {"filename": ["a.mp4", "b.mp4"], "label": [1, 0]}


def test_csv_is_read_with_usage_and_extra_columns(write):
    path = write("solution.csv", "label,note,filename,Usage\r\n1,x,a.mp4,Public\r\n0,y,b.mp4,Private\r\n")
    solution = read_solution(path, CHALLENGE)
    assert solution.usage.tolist() == [b"Public", b"Private"]
    assert list(solution.frame().columns) == ["filename", "label", "Usage"]
    assert solution.frame()["label"].tolist() == [1, 0]


@pytest.mark.parametrize("name", ["metadata.json", "solution.csv", "labels.csv", "solution/solution.csv"])
def test_folder_with_one_solution_is_read(write, tmp_path, name):
    write(name, {"a.mp4": {"label": "FAKE"}} if name.endswith("json") else "filename,label\na.mp4,1\n")
    assert contains_solution(tmp_path, CHALLENGE)
    assert read_solution(tmp_path, CHALLENGE).labels.tolist() == [1]


def test_folder_with_none_or_several_is_refused(write, tmp_path):
    assert not contains_solution(tmp_path, CHALLENGE)
    with pytest.raises(DataMissingError, match="contains no solution"):
        read_solution(tmp_path, CHALLENGE)
    write("metadata.json", {"a.mp4": {"label": "FAKE"}})
    write("labels.csv", "filename,label\na.mp4,1\n")
    with pytest.raises(DataMissingError, match=r"more than one solution: metadata.json, labels.csv"):
        read_solution(tmp_path, CHALLENGE)
    with pytest.raises(DataMissingError, match=r"File or folder not found: .*none.csv"):
        read_solution(tmp_path / "none.csv", CHALLENGE)


def test_bundled_sample_is_read(sample):
    assert read_solution(sample, CHALLENGE).labels.sum() == 8
    assert len(read_solution(sample / "train_sample_videos", CHALLENGE).ids) == 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a.mp4": {"label": "MAYBE"}}', "'a.mp4': label: seen 'MAYBE', expected FAKE or REAL"),
        ('{"a.mp4": {"label": 2}}', "label: seen 2, expected FAKE or REAL"),
        ('{"a.mp4": {"label": true}}', "label: seen True, expected FAKE or REAL"),
        ('{"a.mp4": {"label": "FAKE"}, "a": {"label": "FAKE"}}', "'a.mp4' again, as 'a'"),
        ('{"a.mp4": {"label": ["FAKE"]}}', "label: seen .'FAKE'., expected FAKE or REAL"),
        ('{"a.mp4": {}}', "expected an object with a label"),
        ('{"a.mp4": null}', "label: seen None, expected FAKE or REAL"),
        ('{"a.mp4": {"label": "FAKE", "original": 3}}', "original: seen 3, expected a name"),
        ('{"a.mp4": {"label": "FAKE"}, "a.mp4": {"label": "REAL"}}', "'a.mp4' again, with another label"),
        ('{"": {"label": "FAKE"}}', "expected a file name"),
        ('{"\\ud800.mp4": {"label": "FAKE"}}', "expected a file name"),
        ("[1, 2]", "seen a JSON list"),
        ('{"a.mp4": ', "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("{}", "has no labelled video"),
    ],
)
def test_broken_metadata_is_refused_with_name_and_reason(write, content, message):
    path = write("metadata.json", content)
    with pytest.raises(DataError, match=message) as caught:
        read_solution(path, CHALLENGE)
    assert str(path) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("filename,label\na.mp4,0.5\nb.mp4,\n", r"line 2, label: seen '0.5', expected 0 or REAL, 1 or FAKE\n  line 3"),
        ("filename,label\na.mp4,MAYBE\n", "seen 'MAYBE', expected 0"),
        ("filename,label\n" + "a.mp4,x\n" * 9, "line 6, label: .*\n  and 12 more"),
        ("filename,label\na.mp4,1\na.mp4,0\n", "line 3: 'a.mp4' again, with another label as on line 2"),
        ("filename,label\n,1\n", "line 2, filename: seen '', expected a file name"),
        ("filename,label\na.mp4,1\na.mp4,1\n", "line 3: 'a.mp4' again, with the same label as on line 2"),
        ("filename,label,Usage\na.mp4,1,Both\n", "line 2, Usage: seen 'Both', expected Public, Private, Ignored"),
        ("filename,score\na.mp4,1\n", "line 1: columns 'filename,score', expected a column label"),
        ("filename,label,label\na.mp4,1,1\n", "'label' and 'label' could both be label"),
        ("name,path,label\na.mp4,x/a.mp4,1\n", "'name' and 'path' could both be filename"),
        ("filename,label,Usage\na.mp4,1,Ignored\nb.mp4,0,Ignored\n", "every row is Ignored"),
        ("filename,label\na.mp4,0\nb.mp4,0\n", "is a sample submission, not labels: all 2 labels are 0"),
        ("filename,label\na.mp4,1,2\n", "line 2: row-width, seen 'a.mp4,1,2'"),
        ("", "file-empty"),
        ("filename,label\n", "has no labelled video"),
    ],
)
def test_broken_csv_is_refused_with_line_numbers(write, content, message):
    path = write("solution.csv", content)
    with pytest.raises(DataError, match=message) as caught:
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
def test_contains_solution_distinguishes_solutions_from_samples_and_submissions(write, content, is_solution):
    assert contains_solution(write("x.csv", content), CHALLENGE) == is_solution


def test_sample_submission_is_refused_as_solution(sample, dfdc, tmp_path):
    """Its 0 in every row would call all videos REAL, and no score would look wrong."""
    done = dfdc("score", sample / "sample_submission.csv", sample / "sample_submission.csv")
    assert done.returncode == 3
    assert "is a sample submission, not labels: all 16 labels are 0" in done.stderr
    done = dfdc("run", "baselines/constant", "--solution", sample / "sample_submission.csv", cwd=sample.parent)
    assert done.returncode == 3
    rows = (sample / "sample_submission.csv").read_text().split()
    marked = tmp_path / "marked.csv"
    marked.write_text("\n".join([rows[0] + ",Usage", *(f"{row},Public" for row in rows[1:])]) + "\n")
    assert dfdc("score", sample / "sample_submission.csv", marked).returncode == 0


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        ("filename,label\na.mp4,FAKE\nb.mp4,real\n", []),
        ("Filename,Label\na.mp4,1\nb.mp4,0\n", ["'Filename' read as filename", "'Label' read as label"]),
        ("name,label\na.mp4,1.0\nb.mp4,0.0\n", ["'name' read as filename"]),
        (",videoname,is_fake\n0,a.mp4,True\n1,b.mp4,False\n", ["'videoname' read as", "'is_fake' read as label"]),
        ("video_path,label\nd/e/a.mp4,1\nd/e/b.mp4,0\n", ["'video_path' read as", "2 paths read as file names"]),
        ("id,target\na,1\nb,0\n", ["'id' read as", "'target' read as", ".mp4 added to 2 names"]),
        ("filename,label,split,method\na,FAKE,train,x\nb,REAL,train,\n", [".mp4 added to 2 names"]),
        ("filename,label,original\na.mp4,FAKE,b.mp4\nb.mp4,REAL,\n", []),
        ("filename,label,usage\na.mp4,1,public\nb.mp4,0,PRIVATE\n", ["'usage' read as Usage"]),
    ],
)
def test_csv_as_people_keep_them_is_read_and_assumptions_are_noted(write, content, notes):
    solution = read_solution(write("labels.csv", content), CHALLENGE)
    assert solution.ids.tolist() == [b"a.mp4", b"b.mp4"]
    assert solution.labels.tolist() == [1, 0]
    assert len(solution.notes) == len(notes)
    for note, expected in zip(solution.notes, notes, strict=True):
        assert expected in note
    if "usage" in content:
        assert solution.usage.tolist() == [b"Public", b"Private"]


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("clip,y\na.mp4,1\nb.mp4,0\n", "expected a column label", "Rename the column 'y' to label."),
        ("v,label\na.mp4,1\nb.mp4,0\n", "expected a column filename", "Rename the column 'v' to filename."),
        ("filename,is_real\na.mp4,1\nb.mp4,0\n", "expected a column label", "label that is 1 where is_real is 0."),
        ("filename,a,b\na.mp4,1,1\nb.mp4,0,1\n", "expected a column label", "Rename the column with the labels"),
        ("filename;label\na.mp4;1\n", "columns separated by ';'", "Write it with commas: pd.read_csv(name, sep=';')"),
        ("filename\tlabel\na.mp4\t1\n", "separated by '\\t'", "pd.read_csv(name, sep='\\t')"),
        ("filename,label\na.mp4,0.7\nb.mp4,0.2\n", "has predictions, not labels: line 2 has 0.7", "Name the file with"),
    ],
)
def test_csv_that_cannot_be_read_as_labels_says_what_to_change(write, content, message, hint):
    with pytest.raises(DataError) as raised:
        read_solution(write("labels.csv", content), CHALLENGE)
    assert message in str(raised.value)
    assert hint in raised.value.hint


def test_originals_of_a_csv_are_read(write):
    rows = read_label_rows(write("labels.csv", "filename,label,original\na.mp4,1,b.mp4\nb.mp4,0,\n"), CHALLENGE)
    assert rows.originals.tolist() == [b"b.mp4", b""]


@pytest.mark.parametrize("command", ["score", "labels", "split", "audit", "status", "verify"])
def test_sample_submission_is_refused_as_labels_by_every_command(dfdc, write, tmp_path, command):
    write("data/labels.csv", "filename,label\na.mp4,0\nb.mp4,0\n")
    write("data/a.mp4", "")
    arguments = {"score": ["score", "data/labels.csv"], "audit": ["audit"]}.get(command, ["data", command])
    done = dfdc(*arguments, "data")
    assert done.returncode == 3
    assert "is a sample submission, not labels" in done.stderr


def test_solution_of_another_data_set_is_called_so(write):
    solution = read_solution(write("s.csv", "filename,label\nx.mp4,1\ny.mp4,0\n"), CHALLENGE)
    with pytest.raises(DataError, match=r"another data set's solution: it has none of the 2 videos, such as a.mp4"):
        solution_for(solution, np.array([b"a.mp4", b"b.mp4"]))
    with pytest.raises(DataError, match=r"has no label for 1 of 2 videos, first: a.mp4"):
        solution_for(solution, np.array([b"a.mp4", b"x.mp4"]))
    assert solution_for(solution, np.array([b"y.mp4"])).labels.tolist() == [0]
