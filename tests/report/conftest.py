"""A run of a small submission, and what its report would be for the public test."""

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from dfdc_kit.data.solution import Solution
from dfdc_kit.report import run_report
from dfdc_kit.report.run_report import RunReport, VideoRead
from dfdc_kit.scoring.metric import load_metric
from dfdc_kit.scoring.score import score_submission
from dfdc_kit.submission.validate import SubmissionTable

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


@pytest.fixture(scope="package")
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
def reader_source() -> str:
    """The program of `folder`."""
    return READS


@pytest.fixture
def report(folder) -> RunReport:
    return run_report.load(folder)


@pytest.fixture
def large_report(report) -> RunReport:
    """4,000 videos in 46 minutes, read by several workers, with predictions that are too sure."""
    random, count = np.random.default_rng(0), 4000
    logit = random.normal(0, 2, count)
    labels = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    predicted = 1 / (1 + np.exp(-1.7 * logit - random.normal(0, 1, count)))
    ids = np.array([f"{at:06}.mp4".encode() for at in range(count)])
    columns = ("filename", "label")
    score = score_submission(
        load_metric(report.challenge.metric_path),
        Solution(Path("labels.csv"), ids, labels, None, columns),
        SubmissionTable(ids, predicted, columns),
        report.challenge,
    )
    opened = np.cumsum(random.exponential(0.7, count))
    closed = opened + random.exponential(1.2, count)
    reads = [
        VideoRead(name=name.decode(), opened_s=float(start), closed_s=float(end))
        for name, start, end in zip(ids, opened, closed, strict=True)
    ]
    end = float(closed.max())
    usage = structs.replace(
        report.observation.outcome.usage,
        wall_time_s=end,
        memory_samples=[(float(at), int(3e9 + 1e9 * np.sin(at / 300))) for at in np.linspace(0, end, 500)],
        peak_memory_bytes=4_300_000_000,
    )
    outcome = structs.replace(report.observation.outcome, usage=usage)
    seen = structs.replace(report.observation, reads=reads, outcome=outcome)
    return structs.replace(report, rows=count, score=score, observation=seen)
