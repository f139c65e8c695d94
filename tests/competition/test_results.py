"""Results on disk are read back, and damage is reported with the file's name."""

import msgspec
import pytest

from dfdc_kit.competition.results import JudgedSubmission, load_results
from dfdc_kit.errors import DataError, DataMissingError


def judged(**changes) -> JudgedSubmission:
    values = {
        "key": "ab12",
        "team": "a",
        "name": "one",
        "baseline": False,
        "folder": "submissions/one",
        "submitted_at": None,
        "code_digest": "c",
        "data_digest": "d",
        "profile": "unlimited",
        "metric_digest": "m",
        "verdict": "complete",
        "reason": "",
        "score": 0.5,
        "wall_time_s": 1.0,
        "peak_memory_bytes": None,
        "machine": "host",
        "engine": "local",
        "predictions": "predictions.csv",
        "report": "run/report.html",
    }
    return JudgedSubmission(**{**values, **changes})


def write(judging, result: JudgedSubmission) -> None:
    folder = judging / "results" / result.key
    folder.mkdir(parents=True)
    (folder / "result.json").write_bytes(msgspec.json.encode(result))


def test_load_results_returns_every_result_sorted_by_team(tmp_path):
    later, first = judged(key="1", team="b"), judged(key="2", team="a")
    write(tmp_path, later)
    write(tmp_path, first)
    (tmp_path / "results" / ".3.part").mkdir()  # somebody is writing it now
    assert load_results(tmp_path) == [first, later]


@pytest.mark.parametrize("content", [b"", b'{"schema": 1, "key": "x"}', b"\xff\xfe", None])
def test_load_results_names_the_file_when_a_result_is_damaged(tmp_path, content):
    folder = tmp_path / "results" / "ab12"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "result.json").write_bytes(content)
    with pytest.raises(DataError, match=r"ab12/result\.json is (damaged|missing)"):
        load_results(tmp_path)


def test_load_results_refuses_another_schema(tmp_path):
    write(tmp_path, judged(schema=2))
    with pytest.raises(DataError, match="has schema 2"):
        load_results(tmp_path)


def test_load_results_without_the_folder_says_so(tmp_path):
    with pytest.raises(DataMissingError, match="Judging folder not found"):
        load_results(tmp_path / "nowhere")
