"""What a terminal of 80 columns shows: nothing wraps at its edge, and no line ends in blanks."""

import pytest

from dfdc_kit.report import history


def record(runs, name: str, kind: history.Kind, outcome: str) -> None:
    history.record(
        runs,
        history.Event(
            kind=kind,
            name=name,
            happened=history.now(),
            submission="s",
            outcome=outcome,
            data="/d/sample_data",
            local_score=0.5,
        ),
    )


@pytest.mark.parametrize(
    "words", ["profiles", "baselines face-stats", "check SUBMISSION", "submit SUBMISSION --dry-run", "score CSV SAMPLE"]
)
def test_lines_fit_80_columns_and_end_without_blanks(terminal, root, sample, words):
    paths = {
        "SUBMISSION": root / "baselines" / "face-stats",
        "CSV": sample / "sample_submission.csv",
        "SAMPLE": sample,
    }
    lines = terminal(*(paths.get(word, word) for word in words.split()))
    assert lines
    wide = [line for line in lines if len(line) > 80]
    assert [line for line in wide if len(line.split()[-1]) < 40] == []  # but for names that cannot be broken
    assert [line for line in lines if line != line.rstrip(" ")] == []


def test_history_gives_an_id_that_is_too_long_its_own_line(terminal, tmp_path):
    runs = tmp_path / "runs"
    record(runs, "20261124-031248-frame-stats", history.Kind.RUN, "complete")
    record(runs, "20261124-041248-a-detector-with-a-long-name-rehearsal", history.Kind.REHEARSAL, "passed")
    lines = terminal("history")
    assert max(map(len, lines)) <= 80
    assert "20261124-041248-a-detector-with-a-long-name-rehearsal" in lines
    assert [line.split() for line in lines if line.startswith("20261124-031248")] == [
        ["20261124-031248-frame-stats", "complete", "sample_data", "0.50000", "-"]
    ]
