"""report.html: it shows what run.json says, and escapes what a submission writes."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from dfdc_kit.errors import OutputError
from dfdc_kit.report import html, run_report, svg
from dfdc_kit.report.run_report import RunReport, VideoRead
from dfdc_kit.report.verdicts import Verdict

READS = """
import csv, os, pathlib, time
folder = pathlib.Path(os.environ["DFDC_INPUT_DIR"])
rows = list(csv.DictReader((folder / "sample_submission.csv").open()))
with open("submission.csv", "w") as file:
    file.write("filename,label\\n")
    for at, row in enumerate(rows):
        with (folder / "test_videos" / row["filename"]).open("rb") as video:
            video.read(100)
            time.sleep(0.05)
        file.write(f"{row['filename']},{0.02 + at / 20}\\n")
print("<b>all done</b>")
"""
VOID = {"meta", "line", "rect", "path", "polyline", "br", "img"}


class Tags(HTMLParser):
    """Every element with its attributes; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID or tag == "rect":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self.open and self.open[-1] in {"tr", "td", "th", "li", "p"} and self.open[-1] != tag:
            self.open.pop()
        assert self.open, tag
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The folder of a run that reads every video and answers from 0.02 to 0.77."""
    from dfdc_kit.cli import main

    work = tmp_path_factory.mktemp("page")
    source = work / "reader.py"
    source.write_text(READS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["dfdc", "run", str(source), "--out", str(work / "runs"), "--quiet"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return next((work / "runs").glob("*/"))


@pytest.fixture
def report(folder) -> RunReport:
    return run_report.load(folder)


def test_page_of_a_run_shows_its_report(folder, report):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text == html.render(report)
    assert report.score.displayed in text
    assert "Kaggle: Complete" in text
    for row in report.score.costliest:
        assert f"<td>{row.row_id}</td><td>{row.label}</td>" in text
    for limit in report.enforcement:
        assert f"<td>{limit.limit}</td>" in text
    assert "&lt;b&gt;all done&lt;/b&gt;" in text
    for digest in (report.submission_sha256, report.input_sha256, report.metric_sha256, report.submission_csv_sha256):
        assert digest in text


def test_page_loads_nothing_and_has_no_scripts(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    tags = Tags(text).seen
    assert {"content": "default-src 'none'; style-src 'unsafe-inline'", "http-equiv": "Content-Security-Policy"} in [
        attributes for _, attributes in tags
    ]
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "img", "object", "a", "form"}
    assert not [name for _, attributes in tags for name in attributes if name in {"src", "href"} or name[:2] == "on"]


def test_page_escapes_what_a_submission_writes(report):
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}\ud800'
    seen = structs.replace(
        report.observation,
        last_output=[hostile],
        reads=[structs.replace(read, name=hostile) for read in report.observation.reads],
        fallbacks=structs.replace(report.observation.fallbacks, count=1, by_reason={hostile: 1}, caution=hostile),
    )
    costliest = [structs.replace(row, row_id=hostile) for row in report.score.costliest]
    changed = structs.replace(
        report,
        submission=hostile,
        observation=seen,
        judgement=structs.replace(report.judgement, why=hostile, fix=hostile),
        score=structs.replace(report.score, costliest=costliest),
        manifest_problems=[hostile],
    )
    text = html.render(changed)
    assert not {tag for tag, _ in Tags(text).seen} & {"script", "img"}
    assert text.count("{{ 7 * 7 }}") >= 10
    assert b"\\ud800" in text.encode("utf-8", "backslashreplace")


def test_page_reports_an_unreadable_fallbacks_file(report):
    fallbacks = structs.replace(report.observation.fallbacks, error="its header is <odd>")
    changed = structs.replace(report, observation=structs.replace(report.observation, fallbacks=fallbacks))
    assert "fallbacks.csv could not be read: its header is &lt;odd&gt;" in html.render(changed)


def test_histogram_has_each_prediction_once(report):
    found = report.score.histogram
    assert set(found) == {"FAKE", "REAL"}
    assert sum(map(sum, found.values())) == report.rows
    both = np.add(found["FAKE"], found["REAL"])
    assert (both[:16] == 1).all()  # 0.02, 0.07 ... 0.77: one in each twentieth
    bars = list(svg.bars(found["FAKE"], max(found["FAKE"])))
    assert sum(bar.rows for bar in bars) == sum(found["FAKE"])
    assert max(bar.height for bar in bars) == 1


def test_overlapping_readers_get_separate_lanes():
    reads = [VideoRead(name=f"{n}.mp4", opened_s=n / 2, closed_s=n / 2 + 0.9) for n in range(10)]
    paths = svg.lanes(reads, 10.0)
    assert len(paths) == 2
    strokes = [re.findall(r"M([\d.]+) 0h([\d.]+)", path) for path in paths]
    assert sum(map(len, strokes)) == 10
    for lane in strokes:
        ends = [float(left) + float(length) for left, length in lane]
        assert all(end <= float(left) for end, (left, _) in zip(ends, lane[1:], strict=False))
    crowd = [VideoRead(name=f"{n}.mp4", opened_s=0.0, closed_s=None) for n in range(100)]
    assert len(svg.lanes(crowd, 10.0)) == svg.MAX_LANES
    assert sum(path.count("M") for path in svg.lanes(crowd, 10.0)) == 100
    assert svg.lanes([], 0.0) == []


def test_spans_are_at_the_positions_of_their_times(report):
    forecast = report.forecast
    least, most = svg.time_axis(forecast)
    local = [span for span in svg.spans(forecast) if span.machine == "this machine"]
    for span, outlook in zip(local, forecast.outlooks, strict=True):
        assert 0 <= span.low <= span.median <= span.high <= svg.WIDTH
        again = least * (most / least) ** (span.high / svg.WIDTH)
        assert again == pytest.approx(outlook.local.high_s, rel=0.01)
    places = [tick.x for tick in svg.ticks(least, most)]
    assert len(places) >= 2
    assert min(np.diff(places)) >= svg.MIN_TICK_DISTANCE


def test_page_of_a_failed_run_leaves_out_what_is_missing(report):
    seen = structs.replace(report.observation, reads=[], validation=None, csv_status="missing")
    seen = structs.replace(seen, outcome=structs.replace(seen.outcome, usage=structs.replace(
        seen.outcome.usage, peak_memory_bytes=None, memory_samples=[])))  # fmt: skip
    judgement = structs.replace(report.judgement, verdict=Verdict.NO_CSV, kaggle="Submission CSV Not Found")
    text = html.render(
        structs.replace(
            report,
            observation=seen,
            judgement=judgement,
            score=None,
            forecast=None,
            loss_breakdown=None,
            environment_diffs=[],
        )
    )
    Tags(text)
    assert "csv-not-found" in text
    assert "Kaggle: Submission CSV Not Found. Kaggle shows nothing else" in text
    assert "Predictions" not in text
    assert "Does the hidden test" not in text
    assert "<b>unknown</b>" in text


def test_run_counts_when_the_page_cannot_be_written(code_submission, dfdc, monkeypatch, tmp_path):
    def full(*_):
        raise OutputError("No space left on device.")

    monkeypatch.setattr(html, "write", full)
    from dfdc_kit.cli import main

    monkeypatch.setattr("sys.argv", ["dfdc", "run", str(code_submission(READS)), "--out", str(tmp_path), "--quiet"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert next(tmp_path.glob("*/run.json"))
    assert not list(tmp_path.glob("*/report.html"))
