"""A score with its parts, classes and costliest rows; whose fault it is when there is none; `dfdc score`."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import MetricError, SubmissionError
from dfdc_kit.scoring.metric import LoadedMetric, load_metric
from dfdc_kit.scoring.score import Score, row_losses, score_submission

CHALLENGE = challenges.load()
OFFICIAL = load_metric(CHALLENGE.metric_path)
CASES = Path(__file__).parents[1] / "cases" / "metrics"

TRUTH = pd.DataFrame(
    {
        "filename": ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"],
        "label": [1, 0, 1, 0, 1],
        "Usage": ["Public", "Private", "Public", "Private", "Ignored"],
    }
)
GUESS = pd.DataFrame(
    {"filename": list(TRUTH["filename"])[::-1], "label": [0.5, 0.2, 0.8, 1.0, 0.9]}
)  # b.mp4: badly wrong


def loss(*right):
    """Mean loss of rows whose true class got these probabilities."""
    return math.fsum(-math.log(p) for p in right) / len(right)


@dataclass
class Rows:
    """A solution or a submission made from a table, which may be broken."""

    table: pd.DataFrame

    @property
    def ids(self) -> np.ndarray:
        return np.array([str(name).encode() for name in self.table["filename"]], np.bytes_)

    @property
    def labels(self) -> np.ndarray:
        return self.table["label"].astype(float).to_numpy() if "label" in self.table else np.zeros(0)

    @property
    def usage(self) -> np.ndarray | None:
        return self.table["Usage"].to_numpy().astype(np.bytes_) if "Usage" in self.table else None

    def frame(self) -> pd.DataFrame:
        return self.table


def score_of(metric: LoadedMetric, truth: pd.DataFrame, guess: pd.DataFrame) -> Score:
    return score_submission(metric, Rows(truth), Rows(guess), CHALLENGE)


@pytest.fixture
def metric(tmp_path):
    def write(body: str):
        path = tmp_path / "metric.py"
        path.write_text(body)
        return load_metric(path)

    return write


def test_score_has_value_parts_classes_and_costliest_rows():
    score = score_of(OFFICIAL, TRUTH, GUESS)
    miss = 9.992007221626409e-16  # 1 - (1 - 1e-15) in float64
    assert score.value == pytest.approx(loss(0.9, miss, 0.8, 0.8))
    assert (score.displayed, score.rows) == (f"{math.floor(score.value * 1e5) / 1e5:.5f}", 4)
    assert {name: part.rows for name, part in score.parts.items()} == {"Public": 2, "Private": 2}
    assert score.parts["Public"].value == pytest.approx(loss(0.9, 0.8))
    assert score.parts["Private"].value == pytest.approx(loss(miss, 0.8))
    assert score.parts["Public"].displayed == "0.16425"
    assert {name: part.rows for name, part in score.per_class.items()} == {"FAKE": 2, "REAL": 2}
    assert score.per_class["FAKE"].value == pytest.approx(loss(0.9, 0.8))
    assert [row.row_id for row in score.costliest] == ["b.mp4", "c.mp4", "d.mp4", "a.mp4"]
    first = score.costliest[0]
    assert (first.label, first.predicted, first.loss) == ("REAL", 1.0, pytest.approx(34.539575992))


def test_parts_and_classes_average_to_the_score():
    rows = 57
    truth = pd.DataFrame(
        {
            "filename": [f"{i}.mp4" for i in range(rows)],
            "label": [int(i % 3 == 0) for i in range(rows)],
            "Usage": ["Public" if i % 4 else "Private" for i in range(rows)],
        }
    )
    guess = truth[["filename"]].assign(label=[(i * 7 % 57 + 1) / 60 for i in range(rows)])
    score = score_of(OFFICIAL, truth, guess.sample(frac=1, random_state=1))
    for fold in (score.parts, score.per_class):
        assert sum(part.rows for part in fold.values()) == score.rows == rows
        assert math.fsum(part.value * part.rows for part in fold.values()) / rows == pytest.approx(
            score.value, rel=1e-12
        )
    assert len(score.costliest) == 10
    assert [row.loss for row in score.costliest] == sorted((row.loss for row in score.costliest), reverse=True)


def test_costliest_rows_of_equal_loss_are_sorted_by_name():
    truth = TRUTH.drop(columns="Usage")[::-1]
    score = score_of(OFFICIAL, truth, GUESS.assign(label=0.5))
    assert [row.row_id for row in score.costliest] == sorted(TRUTH["filename"])
    assert [row.share for row in score.costliest] == [pytest.approx(0.2)] * 5


def test_score_without_usage_has_no_parts():
    score = score_of(OFFICIAL, TRUTH.drop(columns="Usage"), GUESS)
    assert (score.rows, score.parts) == (5, {})


def test_score_of_one_class_and_one_part():
    truth = TRUTH[:1]
    score = score_of(OFFICIAL, truth, GUESS[-1:])
    assert (list(score.parts), list(score.per_class)) == (["Public"], ["FAKE"])


def test_metric_never_sees_usage_and_cannot_change_the_tables(metric):
    spy = metric(
        "def score(solution, submission, row_id_column_name):\n"
        "    assert list(solution) == ['filename', 'label']\n"
        "    assert len(solution) == len(submission)\n"
        "    submission['label'] = solution['label'] = 0\n"
        "    return 0.25\n"
    )
    before = TRUTH.copy(), GUESS.copy()
    score = score_of(spy, TRUTH, GUESS)
    assert score.value == 0.25
    pd.testing.assert_frame_equal(TRUTH, before[0])
    pd.testing.assert_frame_equal(GUESS, before[1])


def test_metric_without_losses_gives_no_classes_and_no_rows():
    score = score_of(load_metric(CASES / "sound.py"), TRUTH, GUESS)
    assert (score.per_class, score.costliest) == (None, None)
    assert score.value == pytest.approx(score_of(OFFICIAL, TRUTH, GUESS).value)


def test_score_of_text_labels_and_numeric_ids():
    truth = pd.DataFrame({"filename": [7, 8], "label": [1, 0], "Usage": ["Public", "Private"]})
    guess = pd.DataFrame({"filename": ["8", "7"], "label": ["0.25", "0.5"]})
    score = score_of(OFFICIAL, truth, guess)
    assert score.parts["Public"].value == pytest.approx(math.log(2))
    assert score.costliest[0].row_id == "7"


def test_score_round_trips_through_json():
    score = score_of(OFFICIAL, TRUTH, GUESS)
    assert msgspec.json.decode(msgspec.json.encode(score), type=Score) == score


# --- errors


@pytest.mark.parametrize(
    ("guess", "message"),
    [
        (GUESS[1:], r"Missing id in 1 row\(s\), first: e\.mp4"),  # an ignored row must be there, too
        (GUESS.assign(label=2), r"Label outside \[0, 1\] in 5 row\(s\)"),
        (GUESS.assign(more=1), "Unexpected column"),
        (GUESS[["filename"]], "Missing column"),
    ],
)
def test_invalid_submission_is_a_submission_error(guess, message):
    with pytest.raises(SubmissionError, match=message) as caught:
        score_of(replace(OFFICIAL, is_official=False), TRUTH, guess)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    raise ValueError('bad')\n", "ValueError: bad"),
        ("    raise SystemExit(0)\n", "SystemExit"),
        ("    assert False, 'bad'\n", "AssertionError: bad"),
        ("    return float('nan')\n", "returned nan"),
        ("    return float('inf')\n", "returned inf"),
        ("    return None\n", "TypeError"),
        ("    return 'good'\n", "ValueError"),
    ],
)
def test_failing_metric_is_a_metric_error(metric, body, message):
    broken = metric(f"def score(solution, submission, row_id_column_name):\n{body}")
    with pytest.raises(MetricError, match=message) as caught:
        score_of(broken, TRUTH, GUESS)
    assert caught.value.exit_code == 3


def test_broken_solution_is_a_metric_error():
    with pytest.raises(MetricError, match="label is 0 or 1"):
        score_of(OFFICIAL, TRUTH.assign(label=3), GUESS)


@pytest.mark.parametrize(
    "losses",
    [
        "pd.Series([0.1] * len(solution))",  # by position
        "pd.Series(0.1, index=[*solution['filename'], 'a.mp4'])",  # one row twice
        "pd.Series(0.1, index=solution['filename'][1:])",  # one missing
        "pd.Series(float('inf'), index=solution['filename'])",
    ],
)
def test_losses_that_do_not_match_the_rows_are_a_metric_error(metric, losses):
    broken = metric(
        "import pandas as pd\n"
        "def score(solution, submission, row_id_column_name):\n    return 0.1\n"
        f"def losses(solution, submission, row_id_column_name):\n    return {losses}\n"
    )
    with pytest.raises(MetricError, match="one finite number for each row"):
        score_of(broken, TRUTH, GUESS)


# --- the command


@pytest.fixture
def files(tmp_path):
    (tmp_path / "solution.csv").write_text(TRUTH.to_csv(index=False))
    (tmp_path / "submission.csv").write_text(GUESS.to_csv(index=False))
    return "submission.csv", "solution.csv"


def test_score_command_shows_score_parts_classes_and_rows(dfdc, files):
    done = dfdc("score", *files)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert next(line for line in lines if "in full" in " ".join(line))[:2] == ["score", "8.77280"]
    for row in (["public", "0.16425"], ["private", "17.38"], ["FAKE", "0.16425"], ["constant", "0.69314"]):
        assert any(line[0] == row[0] and line[1].startswith(row[1]) for line in lines), row
    assert any(line[:3] == ["b.mp4", "REAL", "1"] for line in lines)
    ours = done.stdout[done.stdout.index("\nscore ") :]
    assert max(map(len, ours.splitlines())) <= 80
    assert "warning label-extreme" in done.stdout


def test_score_command_prints_json(dfdc, files):
    document = json.loads(dfdc("score", *files, "--json").stdout)
    assert {"auc", "average_precision", "accuracy", "ln_weighted_precision"} == set(document["score"]["secondary"])
    assert document["score"]["curves"]["roc"][-1] == [1.0, 1.0]
    assert document["score"]["displayed"] == "8.77280"
    assert document["constant"]["displayed"] == "0.69314"
    assert document["validation"]["valid"] is True


def test_score_command_refuses_what_validate_refuses(dfdc, files, tmp_path):
    (tmp_path / "submission.csv").write_text("filename,label\na.mp4,0.5\na.mp4,7\n")
    done = dfdc("score", *files)
    assert done.returncode == 1
    assert "a.mp4" in done.stdout
    assert "score " not in done.stdout
    document = json.loads(dfdc("score", *files, "--json").stdout)
    assert (document["score"], document["validation"]["valid"]) == (None, False)


def test_score_command_uses_another_metric(dfdc, files):
    done = dfdc("score", *files, "--metric", CASES / "sound.py")
    assert done.returncode == 0, done.stderr
    assert "cost the most" not in done.stdout


def test_score_command_blames_the_metric_for_its_failure(dfdc, files):
    done = dfdc("score", *files, "--metric", CASES / "returns-nan.py")
    assert (done.returncode, done.stdout) == (3, "")
    assert "error[metric-error]: returns-nan.py returned nan" in done.stderr


def test_score_command_fails_without_a_solution(dfdc, files):
    assert dfdc("score", files[0], "nowhere.csv").returncode == 3


ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1), st.sampled_from(["Public", "Private", "Ignored"])),
    min_size=1,
    max_size=30,
).filter(lambda rows: any(usage != "Ignored" for _, _, usage in rows))


@settings(deadline=None, max_examples=40)
@given(ROWS, st.booleans(), st.randoms(use_true_random=False))
def test_arrays_and_tables_give_the_same_score_to_the_last_bit(rows, with_usage, random):
    """The official metric is computed on arrays; through its own `score` and `losses` it must say the same."""
    truth = pd.DataFrame(
        {"filename": [f"{i}.mp4" for i in range(len(rows))], "label": [y for y, _, _ in rows]}
        | ({"Usage": [usage for _, _, usage in rows]} if with_usage else {})
    )
    guess = pd.DataFrame({"filename": truth["filename"], "label": [p for _, p, _ in rows]})
    order = list(range(len(rows)))
    random.shuffle(order)
    through_tables = replace(OFFICIAL, is_official=False)
    assert score_of(OFFICIAL, truth, guess.iloc[order]) == score_of(through_tables, truth, guess.iloc[order])
    losses = [row_losses(metric, Rows(truth), Rows(guess), CHALLENGE) for metric in (OFFICIAL, through_tables)]
    assert losses[0] == losses[1]


def test_scoring_with_the_official_metric_does_not_import_pandas(files, tmp_path):
    """Its import takes longer than all the rest of the command."""
    script = "import sys; from dfdc_kit.cli import main\ntry: main()\nfinally: print('pandas' in sys.modules)"
    command = [sys.executable, "-c", script, "score", *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_score_command_accepts_labels_of_more_videos_and_says_so(dfdc, tmp_path):
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,1\nb.mp4,0\nc.mp4,1\n")
    (tmp_path / "some.csv").write_text("filename,label\na.mp4,0.9\nb.mp4,0.2\n")
    done = dfdc("score", "some.csv", "labels.csv")
    assert done.returncode == 0
    assert "Scored the submission's 2 rows; the solution has 1 more." in done.stderr


def test_score_command_scores_a_part_of_a_test_set_only_where_that_is_meant(dfdc, tmp_path):
    rows = [f"{i}.mp4" for i in range(10)]
    lines = [f"{row},{i % 2},Public\n" for i, row in enumerate(rows)]
    (tmp_path / "large.csv").write_text("filename,label,Usage\n" + "".join(lines))
    for count, options, code in ((4, [], 0), (9, [], 1), (9, ["--subset"], 0)):
        (tmp_path / "some.csv").write_text("filename,label\n" + "".join(f"{row},0.5\n" for row in rows[:count]))
        done = dfdc("score", "some.csv", "large.csv", *options)
        assert done.returncode == code
        if code == 0:
            assert f"Scored the submission's {count} rows; the solution has {10 - count} more." in done.stderr
        else:
            assert "next: dfdc score some.csv large.csv --subset\n" in done.stdout
    (tmp_path / "run.json").write_text("{}")  # as in the folder of a run, which has checked the rows
    assert dfdc("score", "some.csv", "large.csv").returncode == 0


def test_score_command_names_another_data_sets_solution(dfdc, tmp_path):
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.5\nb.mp4,0.5\n")
    (tmp_path / "other.csv").write_text("filename,label\nx.mp4,0\ny.mp4,1\n")
    done = dfdc("score", "s.csv", "other.csv")
    assert done.returncode == 3
    assert "another data set's solution" in done.stderr
    (tmp_path / "stems.csv").write_text("filename,label\na,0.5\nb,0.5\n")  # the same names without .mp4
    (tmp_path / "same.csv").write_text("filename,label\na.mp4,0\nb.mp4,1\n")
    done = dfdc("score", "stems.csv", "same.csv")
    assert (done.returncode, "The file name includes .mp4" in done.stdout) == (1, True)


def test_score_command_refuses_a_solution_whose_rows_are_all_ignored(dfdc, tmp_path):
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.5\n")
    (tmp_path / "ignored.csv").write_text("filename,label,Usage\na.mp4,0,Ignored\n")
    done = dfdc("score", "s.csv", "ignored.csv")
    assert (done.returncode, "error[invalid-data]" in done.stderr) == (3, True)
    assert "every row is Ignored" in done.stderr


def test_score_command_reads_a_lower_case_usage_and_notes_it(dfdc, tmp_path):
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.5\nb.mp4,0.5\n")
    (tmp_path / "usage.csv").write_text("filename,label,usage\na.mp4,0,Public\nb.mp4,1,Private\n")
    done = dfdc("score", "s.csv", "usage.csv")
    assert "column 'usage' read as Usage" in done.stdout
    assert "private" in done.stdout
