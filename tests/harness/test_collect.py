"""Files that a run leaves: fallbacks.csv is counted, or refused with a reason."""

import re
from pathlib import Path

import pytest

from dfdc_kit.harness.collect import collect_fallbacks

GOOD = (Path(__file__).parent / "programs" / "good.py").read_text()
NAMES = [f"{number}.mp4" for number in range(20)]


@pytest.fixture
def collected(tmp_path):
    """Collect a fallbacks.csv of these bytes, for the rows NAMES."""

    def call(content: bytes):
        (tmp_path / "written.csv").write_bytes(content)
        return collect_fallbacks(tmp_path / "written.csv", tmp_path / "kept.csv", set(NAMES))

    return call


@pytest.mark.parametrize(("count", "caution"), [(0, False), (1, False), (2, True), (20, True)])
def test_fallbacks_above_5_percent_set_a_caution(collected, count, caution):
    found = collected(("filename,reason\n" + "".join(f"{name},dark\n" for name in NAMES[:count])).encode())
    assert (found.count, bool(found.caution)) == (count, caution)


def test_fallbacks_are_counted_by_reason(collected):
    found = collected(b"filename,reason\n0.mp4,unreadable\n1.mp4,no-face\n2.mp4,no-face (best score 0.52)\n")
    assert found.by_reason == {"unreadable": 1, "no-face": 2}
    assert "15% of the videos, more than 5%" in found.caution


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"filename,reason\n0.mp4,dark\nother.mp4,dark\n", "1 row invalid: .* the first: 'other.mp4,dark'"),
        (b"filename,reason\n0.mp4,dark\n0.mp4,dark\n", "1 row invalid"),
        (b"filename,reason\n0.mp4\n1.mp4,a,b\n", "2 rows invalid"),
        (b"\xff\x00,\x1b[2J\n", "header"),
        (b"", "header"),
    ],
    ids=["unknown-name", "repeated-name", "wrong-columns", "binary", "empty"],
)
def test_invalid_fallbacks_file_is_refused_and_not_kept(collected, tmp_path, content, error):
    found = collected(content)
    assert re.search(error, found.error)
    assert found.count == 0
    assert not (tmp_path / "kept.csv").exists()


def test_run_with_a_refused_fallbacks_file_is_complete_and_breaks_down_no_fallbacks(run, run_folder):
    source = GOOD + "rows = ['filename,reason', names[0] + ',dark', 'other.mp4,dark']\n"
    report = run(source + "pathlib.Path('fallbacks.csv').write_text('\\n'.join(rows))")
    assert report.score is not None
    assert "1 row invalid" in report.observation.fallbacks.error
    assert "fallbacks" not in [entry.what for entry in report.loss_breakdown.entries]
    assert not (run_folder() / "fallbacks.csv").exists()
