"""The report page in Chromium at three widths: no console message, nothing overflows, no labels collide."""

from pathlib import Path

import pytest

import browser
from dfdc_kit.report import html, run_report

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
