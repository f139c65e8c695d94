"""The report of `dfdc robustness`: the loss on degraded copies of the same videos, and a page that shows them."""

import base64
from pathlib import Path

import msgspec

from dfdc_kit.files import write_bytes, write_json
from dfdc_kit.report.html import template
from dfdc_kit.scoring.intervals import Interval

FILE = "robustness.json"
PAGE = "robustness.html"
TEMPLATE = Path(__file__).with_name("robustness.html")


class DegradedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run on one kind of degraded copies, compared with the run on the clean videos."""

    kind: str
    family: str
    title: str
    verdict: str
    kaggle: str  # what Kaggle would show
    folder: str  # of the run, relative to the report's
    fallbacks: int  # rows that the submission lists in fallbacks.csv
    loss: float | None = None  # mean over all videos; None if the run failed
    difference: float | None = None  # of the mean loss to that of the clean videos; above 0: worse
    interval: Interval | None = None  # 95 %, of the difference, paired by video


class RobustnessReport(msgspec.Struct, frozen=True, kw_only=True):
    """One submission on clean and degraded copies of the same videos; the worst kind first, failed runs before all."""

    schema_version: int = 1
    kit_version: str
    robustness_id: str
    started: str  # ISO 8601, UTC
    submission: str
    submission_folder: str
    submission_sha256: str
    data_folder: str
    videos: int
    clusters: int  # videos of one original count as one
    seed: int
    profile_name: str
    backend: str
    outcome: str  # "complete", "failed" (a run on degraded copies), "not-reproducible" or "interrupted"
    clean: DegradedRun
    kinds: list[DegradedRun]
    caution: str  # empty, or what the differences cannot show


def verdict_of(run: DegradedRun) -> str:
    """`worse`, `better`, `no clear difference`, or the run's own verdict if it has no loss."""
    if run.difference is None:
        return run.verdict
    if run.interval is None or run.interval.contains(0.0):
        return "no clear difference"
    return "worse" if run.difference > 0 else "better"


def save(report: RobustnessReport, pictures: dict[str, list[bytes]], folder: Path) -> None:
    """Write robustness.json and the page into `folder`; pictures: JPEG files for each kind. Raises OutputError."""
    write_json(folder / FILE, report)
    write_bytes(folder / PAGE, render(report, pictures).encode("utf-8", "backslashreplace"))


def render(report: RobustnessReport, pictures: dict[str, list[bytes]]) -> str:
    """The page as HTML text: without scripts or external resources; all text is escaped."""
    ends = [0.0]
    for run in report.kinds:
        ends += [run.difference or 0.0, *((run.interval.low, run.interval.high) if run.interval else ())]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    return template(TEMPLATE).render(
        report=report,
        verdict_of=verdict_of,
        position=lambda value: 20 + 960 * (value - low) / span,
        pictures={kind: [base64.b64encode(picture).decode() for picture in shown] for kind, shown in pictures.items()},
    )
