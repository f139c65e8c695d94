"""The report page in Chromium at three widths: no console message, nothing overflows, no labels collide."""

from pathlib import Path

import numpy as np
import pytest

import browser
from dfdc_kit import challenge as challenges
from dfdc_kit.report import comparison, html, run_report
from dfdc_kit.scoring.compare import Losses, compare

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="Chromium is not installed")
CASES = Path(__file__).parents[1] / "cases" / "reports"
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


def test_pages_have_no_fault_at_any_width(report, large_report, tmp_path):
    names = [row.row_id for row in large_report.score.costliest]
    pages = {
        "sample": html.render(report, html.pictures(report)),
        "4,000 videos": html.render(large_report, {name: [PICTURE] * 3 for name in names}),
    }
    pages |= {path.stem: html.render(run_report.load(path)) for path in CASES.glob("*.json")}  # failed runs, too
    assert browser.problems(pages, tmp_path) == []


@pytest.mark.slow
def test_comparison_pages_have_no_fault_at_any_width(tmp_path):
    random, labels = np.random.default_rng(0), np.arange(300, dtype=np.uint8) % 2
    odds = (2.0 * labels - 1)[:, None] * np.linspace(1.5, 0.5, 20) + random.normal(size=(300, 20))
    predictions = 1 / (1 + np.exp(-odds))
    losses = -np.log(np.where(labels[:, None] == 1, predictions, 1 - predictions))
    names = [f"submission-with-a-long-name-{i}" if i % 2 else f"<b>{i}" for i in range(20)]
    constant, pages = np.full(300, np.log(2)), {}
    for count in (2, 20):
        scoring = Losses(losses[:, :count], constant)
        found = compare(names[:count], labels, predictions[:, :count], scoring)
        pages[f"{count} submissions"] = comparison.render(found, ["A note."], challenges.load())
    same = compare(names[:2], labels, np.full((300, 2), 0.5), Losses(np.full((300, 2), np.log(2)), constant))
    pages["equal submissions"] = comparison.render(same, [], challenges.load())
    assert browser.problems(pages, tmp_path) == []


def test_browser_check_finds_overflow_collisions_and_console_messages(tmp_path):
    style = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    page = (
        f'{style}<main><p style="width: 800px">wide</p><img src="http://127.0.0.1:9/x.png" alt="x">'
        '<div class="axis"><span>1</span><span style="margin-left: -8px">2</span></div></main>'
    )
    found = " ".join(browser.problems({"bad": page}, tmp_path))
    assert "bad, 360 px: overflows" in found
    assert "bad, 1440 px: overflows" not in found
    assert "labels collide: 1 and 2" in found
    assert "Content Security Policy" in found
