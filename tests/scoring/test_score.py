"""A score with its parts, classes and costliest rows; whose fault it is when there is none; `dfdc score`."""

import json
import math
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import MetricError, SubmissionError
from dfdc_kit.scoring.metric import load_metric
from dfdc_kit.scoring.score import Score, score_submission

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
    """Mean cost of rows whose true class was given these probabilities."""
    return math.fsum(-math.log(p) for p in right) / len(right)


@pytest.fixture
def metric(tmp_path):
    def write(body: str):
        path = tmp_path / "metric.py"
        path.write_text(body)
        return load_metric(path)

    return write


def test_value_parts_classes_and_costliest_rows():
    score = score_submission(OFFICIAL, TRUTH, GUESS, CHALLENGE)
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


def test_parts_and_classes_fold_to_the_whole():
    rows = 57
    truth = pd.DataFrame(
        {
            "filename": [f"{i}.mp4" for i in range(rows)],
            "label": [int(i % 3 == 0) for i in range(rows)],
            "Usage": ["Public" if i % 4 else "Private" for i in range(rows)],
        }
    )
    guess = truth[["filename"]].assign(label=[(i * 7 % 57 + 1) / 60 for i in range(rows)])
    score = score_submission(OFFICIAL, truth, guess.sample(frac=1, random_state=1), CHALLENGE)
    for fold in (score.parts, score.per_class):
        assert sum(part.rows for part in fold.values()) == score.rows == rows
        assert math.fsum(part.value * part.rows for part in fold.values()) / rows == pytest.approx(
            score.value, rel=1e-12
        )
    assert len(score.costliest) == 10
    assert [row.loss for row in score.costliest] == sorted((row.loss for row in score.costliest), reverse=True)


def test_rows_of_equal_cost_stand_in_the_order_of_their_names():
    truth = TRUTH.drop(columns="Usage")[::-1]
    score = score_submission(OFFICIAL, truth, GUESS.assign(label=0.5), CHALLENGE)
    assert [row.row_id for row in score.costliest] == sorted(TRUTH["filename"])
    assert [row.share for row in score.costliest] == [pytest.approx(0.2)] * 5


def test_without_usage_there_are_no_parts():
    score = score_submission(OFFICIAL, TRUTH.drop(columns="Usage"), GUESS, CHALLENGE)
    assert (score.rows, score.parts) == (5, {})


def test_one_class_and_one_part():
    truth = TRUTH[:1]
    score = score_submission(OFFICIAL, truth, GUESS[-1:], CHALLENGE)
    assert (list(score.parts), list(score.per_class)) == (["Public"], ["FAKE"])


def test_the_metric_never_sees_usage_and_the_frames_stay_as_they_are(metric):
    spy = metric(
        "def score(solution, submission, row_id_column_name):\n"
        "    assert list(solution) == ['filename', 'label']\n"
        "    assert len(solution) == len(submission)\n"
        "    submission['label'] = solution['label'] = 0\n"
        "    return 0.25\n"
    )
    before = TRUTH.copy(), GUESS.copy()
    score = score_submission(spy, TRUTH, GUESS, CHALLENGE)
    assert score.value == 0.25
    pd.testing.assert_frame_equal(TRUTH, before[0])
    pd.testing.assert_frame_equal(GUESS, before[1])


def test_a_metric_without_losses_has_no_classes_and_no_rows():
    score = score_submission(load_metric(CASES / "sound.py"), TRUTH, GUESS, CHALLENGE)
    assert (score.per_class, score.costliest) == (None, None)
    assert score.value == pytest.approx(score_submission(OFFICIAL, TRUTH, GUESS, CHALLENGE).value)


def test_text_labels_and_number_ids():
    truth = pd.DataFrame({"filename": [7, 8], "label": [1, 0], "Usage": ["Public", "Private"]})
    guess = pd.DataFrame({"filename": ["8", "7"], "label": ["0.25", "0.5"]})
    score = score_submission(OFFICIAL, truth, guess, CHALLENGE)
    assert score.parts["Public"].value == pytest.approx(math.log(2))
    assert score.costliest[0].row_id == "7"


def test_a_score_survives_json():
    score = score_submission(OFFICIAL, TRUTH, GUESS, CHALLENGE)
    assert msgspec.json.decode(msgspec.json.encode(score), type=Score) == score


# --- whose fault


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        (GUESS[1:], r"Missing id in 1 row\(s\), first: e\.mp4"),  # an ignored row must be there, too
        (GUESS.assign(label=2), r"Label outside \[0, 1\] in 5 row\(s\)"),
        (GUESS.assign(more=1), "Unexpected column"),
        (GUESS[["filename"]], "Missing column"),
    ],
)
def test_the_participants_fault(guess, said):
    with pytest.raises(SubmissionError, match=said) as caught:
        score_submission(OFFICIAL, TRUTH, guess, CHALLENGE)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("body", "said"),
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
def test_the_metrics_own_fault_is_never_the_submissions(metric, body, said):
    broken = metric(f"def score(solution, submission, row_id_column_name):\n{body}")
    with pytest.raises(MetricError, match=said) as caught:
        score_submission(broken, TRUTH, GUESS, CHALLENGE)
    assert caught.value.exit_code == 3


def test_a_broken_solution_is_not_the_submissions_fault():
    with pytest.raises(MetricError, match="label is 0 or 1"):
        score_submission(OFFICIAL, TRUTH.assign(label=3), GUESS, CHALLENGE)


@pytest.mark.parametrize(
    "losses",
    [
        "pd.Series([0.1] * len(solution))",  # by position
        "pd.Series(0.1, index=[*solution['filename'], 'a.mp4'])",  # one row twice
        "pd.Series(0.1, index=solution['filename'][1:])",  # one missing
        "pd.Series(float('inf'), index=solution['filename'])",
    ],
)
def test_losses_that_do_not_belong_to_rows(metric, losses):
    broken = metric(
        "import pandas as pd\n"
        "def score(solution, submission, row_id_column_name):\n    return 0.1\n"
        f"def losses(solution, submission, row_id_column_name):\n    return {losses}\n"
    )
    with pytest.raises(MetricError, match="one finite number for each row"):
        score_submission(broken, TRUTH, GUESS, CHALLENGE)


# --- the command


@pytest.fixture
def files(tmp_path):
    (tmp_path / "solution.csv").write_text(TRUTH.to_csv(index=False))
    (tmp_path / "submission.csv").write_text(GUESS.to_csv(index=False))
    return "submission.csv", "solution.csv"


def test_command_shows_score_parts_classes_and_rows(dfdc, files):
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


def test_command_json(dfdc, files):
    document = json.loads(dfdc("score", *files, "--json").stdout)
    assert document["score"]["displayed"] == "8.77280"
    assert document["constant"]["displayed"] == "0.69314"
    assert document["validation"]["valid"] is True


def test_command_refuses_what_validate_refuses(dfdc, files, tmp_path):
    (tmp_path / "submission.csv").write_text("filename,label\na.mp4,0.5\na.mp4,7\n")
    done = dfdc("score", *files)
    assert done.returncode == 1
    assert "a.mp4" in done.stdout
    assert "score " not in done.stdout
    document = json.loads(dfdc("score", *files, "--json").stdout)
    assert (document["score"], document["validation"]["valid"]) == (None, False)


def test_command_with_another_metric(dfdc, files):
    done = dfdc("score", *files, "--metric", CASES / "sound.py")
    assert done.returncode == 0, done.stderr
    assert "cost the most" not in done.stdout


def test_command_calls_the_metrics_fault_by_its_name(dfdc, files):
    done = dfdc("score", *files, "--metric", CASES / "returns-nan.py")
    assert (done.returncode, done.stdout) == (3, "")
    assert "error[metric-error]: returns-nan.py returned nan" in done.stderr


def test_command_without_a_solution(dfdc, files):
    assert dfdc("score", files[0], "nowhere.csv").returncode == 3
