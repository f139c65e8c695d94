"""What explains a score: the cost of fallback predictions, and the score of an unfinished file."""

from pathlib import Path

import pytest

from dfdc_kit.report.verdicts import Verdict

GOOD = (Path(__file__).parent / "programs" / "good.py").read_text()


def test_cost_of_fallbacks_and_of_a_repeated_value_adds_up_to_the_score(run):
    source = GOOD + (
        "rows = [f'{name},0.4' for name in names[2:]] + [f'{name},0.999' for name in names[:2]]\n"
        "pathlib.Path('submission.csv').write_text('\\n'.join(['filename,label', *rows]))\n"
        "pathlib.Path('fallbacks.csv').write_text('\\n'.join(['filename,reason', *(f'{n},dark' for n in names[:2])]))\n"
    )
    report = run(source)
    fallbacks, repeated = report.loss_breakdown.entries
    assert (fallbacks.what, fallbacks.rows, repeated.rows) == ("fallbacks", 2, 14)
    assert fallbacks.share + repeated.share == pytest.approx(1)
    assert report.loss_breakdown.mean_loss == pytest.approx(report.score.value)


def test_unfinished_file_of_a_timed_out_run_has_a_partial_score(run):
    """Rows are written one by one until the time limit; the missing ones count as 0.5."""
    source = GOOD + (
        "import time\n"
        "file = open('submission.csv', 'w')\n"
        "print('filename,label', *(f'{name},0.5' for name in names[:7]), sep='\\n', file=file, flush=True)\n"
        "time.sleep(60)\n"
    )
    report = run(source, wall_time_s=4.0)
    assert report.judgement.verdict is Verdict.TIMEOUT
    assert report.score is None
    assert report.partial_score.rows_written == 7
    assert report.partial_score.displayed == "0.69314"


def test_valid_file_of_a_crashed_run_has_no_score(run):
    report = run(GOOD + "raise RuntimeError('after writing')")
    assert report.judgement.verdict is Verdict.EXCEPTION
    assert (report.score, report.partial_score) == (None, None)
