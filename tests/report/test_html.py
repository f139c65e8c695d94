"""report.html: it shows what run.json says, and escapes what a submission writes."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from msgspec import structs

from dfdc_kit.errors import OutputError
from dfdc_kit.report import html, svg
from dfdc_kit.report.html import thumbnails
from dfdc_kit.report.run_report import VideoRead
from dfdc_kit.report.verdicts import Verdict

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


def test_page_of_a_run_shows_its_report(folder, report):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text == html.render(report, html.pictures(report))
    assert report.score.displayed in text
    assert "Kaggle: Complete" in text
    for row in report.score.costliest:
        assert f"<b>{row.row_id}</b><br>{row.label}, predicted" in text
    for limit in report.enforcement:
        assert f"<td>{limit.limit}</td>" in text
    assert "&lt;b&gt;all done&lt;/b&gt;" in text
    for digest in (report.submission_sha256, report.input_sha256, report.metric_sha256, report.submission_csv_sha256):
        assert digest in text


def test_page_loads_nothing_and_has_no_scripts(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    tags = Tags(text).seen
    assert {
        "content": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        "http-equiv": "Content-Security-Policy",
    } in [attributes for _, attributes in tags]
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "a", "form"}
    assert not [name for _, attributes in tags for name in attributes if name == "href" or name[:2] == "on"]
    sources = [attributes["src"] for _, attributes in tags if "src" in attributes]
    assert 10 <= len(sources) <= 30
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)


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
    bars = re.findall(r"<title>(\d+) videos? (FAKE|REAL), prediction", svg.predictions(found).svg)
    assert sum(int(rows) for rows, name in bars if name == "FAKE") == sum(found["FAKE"])
    assert len(bars) == 16


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


def test_run_counts_when_the_page_cannot_be_written(reader_source, code_submission, dfdc, monkeypatch, tmp_path):
    def full(*_):
        raise OutputError("No space left on device.")

    monkeypatch.setattr(html, "write", full)
    from dfdc_kit.cli import main

    monkeypatch.setattr(
        "sys.argv", ["dfdc", "run", str(code_submission(reader_source)), "--out", str(tmp_path), "--quiet"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert next(tmp_path.glob("*/run.json"))
    assert not list(tmp_path.glob("*/report.html"))


def test_page_of_4000_videos_stays_small(large_report, sample):
    pictures = {row.row_id: ["data:image/jpeg;base64," + "A" * 40_000] * 3 for row in large_report.score.costliest}
    assert len(html.render(large_report).encode()) < 400_000
    assert len(html.render(large_report, pictures).encode()) < 3_000_000


def test_plots_show_each_row_of_the_score(large_report):
    plots = {plot.title: plot for plot in svg.score_plots(large_report.score)}
    assert list(plots) == ["Predictions by class", "Reliability", "ROC", "Loss by confidence"]
    for plot in plots.values():
        Tags(plot.svg)
        assert plot.legend
    for title in ("Reliability", "Loss by confidence"):
        rows = re.findall(r"([\d,]+) videos?[:,]", plots[title].svg)
        unique = rows[::2] if title == "Loss by confidence" else rows  # each bar has an outline with the same label
        assert sum(int(count.replace(",", "")) for count in unique) == 4000


def test_page_without_videos_lists_the_costliest_in_a_table(report):
    text = html.render(report)
    for row in report.score.costliest:
        assert f"<td>{row.row_id}</td><td>{row.label}</td>" in text


def test_thumbnails_of_broken_and_missing_videos_are_left_out(tmp_path, sample):
    good = next((sample / "test_videos").glob("*.mp4"))
    (tmp_path / "good.mp4").write_bytes(good.read_bytes())
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:2000])
    (tmp_path / "text.mp4").write_text("no video")
    found = thumbnails(tmp_path, ["good.mp4", "cut.mp4", "text.mp4", "missing.mp4"])
    assert set(found) == {"good.mp4"}
    assert len(set(found["good.mp4"])) == 3
    assert all(len(uri) < 54_000 for uri in found["good.mp4"])


def test_pictures_are_of_the_input_folder_only(report):
    rows = report.score.costliest[:2]
    assert len({row.predicted for row in rows}) == 2
    outside = [structs.replace(row, row_id=f"../test_videos/{row.row_id}") for row in rows]
    changed = structs.replace(report, score=structs.replace(report.score, costliest=outside))
    assert html.pictures(changed) == {}


@pytest.mark.parametrize(
    ("wall_time_s", "texts"),
    [
        (14.0, ["0 s", "5 s", "10 s"]),
        (2750.0, ["0 s", "10 min", "20 min", "30 min", "40 min"]),
        (0.4, ["0 s"]),
    ],
)
def test_time_ticks_are_round_times(wall_time_s, texts):
    ticks = svg.time_ticks(wall_time_s)
    assert [tick.text for tick in ticks] == texts
    assert all(0 <= tick.x <= svg.WIDTH for tick in ticks)


@pytest.mark.parametrize("highest", [0.37, 1, 3, 63, 100, 12345])
def test_round_ticks_reach_the_highest_value(highest):
    ticks = svg.round_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-1] >= highest * (1 - 1e-9)
    assert ticks[-2] < highest
    assert len(ticks) <= 6


def test_page_has_no_pictures_where_all_predictions_are_equal(report):
    assert html.pictures(report)
    equal = [structs.replace(row, predicted=0.5) for row in report.score.costliest]
    assert html.pictures(structs.replace(report, score=structs.replace(report.score, costliest=equal))) == {}
