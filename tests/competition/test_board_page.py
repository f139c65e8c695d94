"""The board's page in a browser: nothing overflows at three widths, and a click on a heading sorts."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from dfdc_kit.competition.board import make_board, read_judged
from dfdc_kit.competition.results import load_results
from dfdc_kit.competition.rules import load
from dfdc_kit.competition.site import write_site
from dfdc_kit.data.solution import read_solution
from dfdc_kit.scoring.metric import load_metric

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """
<script>
const heads = document.querySelectorAll("th[data-sort]"), edge = document.body.getBoundingClientRect().right + 1;
const first = () => document.querySelector("tbody tr .name").firstChild.textContent.trim();
const right = (element) => element.getBoundingClientRect().right;
const wide = [...document.querySelectorAll("main *")].some((element) => right(element) > edge), before = first();
const button = heads[2].querySelector("button");
if (button) { button.click(); button.click(); }
document.title = ["wide", wide, "before", before, "after", first(), heads[2].getAttribute("aria-sort")].join("|");
</script></body>"""


@pytest.fixture
def page(judging, tmp_path):
    for i in range(6):
        judging.add(
            f"Team {i} " + "long-name-without-blanks" * (i == 0), judging.predictions(1.6 - i / 5, i), "detector"
        )
    judging.add("Host", np.full(len(judging.ids), 0.5), "constant")
    judging.add("Broken", None, "crash")
    rules, challenge = load("dfdc")
    metric, solution = load_metric(challenge.metric_path), read_solution(judging.solution, challenge)
    judged = read_judged(rules, challenge, judging.folder, load_results(judging.folder), solution, metric)
    return write_site(tmp_path, make_board(judged, "private", resamples=100), rules, judged, judging.folder)


def test_page_loads_nothing_and_allows_only_its_own_script(page):
    text = page.read_text()
    assert "default-src 'none'" in text
    assert "unsafe-inline" not in re.search(r"script-src ([^\"]*)", text)[1]
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text)
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text


def test_a_line_separates_ties_and_nothing_else(judging, tmp_path):
    """Baselines between the teams of a tie, and teams with equal scores, do not start another one."""
    for team, value in {"a": 0.5, "b": 0.5}.items():
        judging.add(team, np.full(len(judging.ids), value), "half")
    judging.add("Host", np.full(len(judging.ids), 0.5), "constant")
    for team in ("c", "d"):
        judging.add(team, np.where(judging.truth == 1, 0.1, 0.9), "wrong")
    rules, challenge = load("dfdc")
    metric, solution = load_metric(challenge.metric_path), read_solution(judging.solution, challenge)
    judged = read_judged(rules, challenge, judging.folder, load_results(judging.folder), solution, metric)
    index = write_site(tmp_path, make_board(judged, "public", resamples=100), rules, judged, judging.folder)
    rows = re.findall(r'<tr class="([^"]*)">.*?<bdi>(.*?)</bdi>', index.read_text(), re.DOTALL)
    assert [name for classes, name in rows if "group" in classes] == ["c"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_page_fits_the_window_and_sorts(page, width, tmp_path):
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    probe = tmp_path / "probe.html"
    probe.write_text(text.replace("</body>", PROBE).replace("<body>", f'<body style="width: {width}px">'))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom"]
    done = subprocess.run([CHROMIUM, *options, probe.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    title = re.search("<title>(.*?)</title>", done.stdout)[1].split("|")
    assert title == ["wide", "false", "before", "Team 0 long-name-without-blanks", "after", "Team 5", "descending"]
