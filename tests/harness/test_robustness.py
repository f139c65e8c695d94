"""Clean and degraded copies of the same videos, through the harness."""

import shutil

import pytest

from dfdc_kit import challenge, profiles
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.errors import UsageError
from dfdc_kit.harness.request import NullListener, RunRequest
from dfdc_kit.harness.robustness import CLEAN, robustness
from dfdc_kit.report import history
from dfdc_kit.report.history import Kind
from dfdc_kit.report.robustness import FILE, PAGE, verdict_of
from dfdc_kit.sandbox import choose
from dfdc_kit.submission.code import read_code_submission

# Right and sure about each video as long as it is wide: half the resolution makes it wrong.
WIDTH = """
import csv, os
from pathlib import Path
import av
folder = Path(os.environ["DFDC_INPUT_DIR"])
rows = []
for video in sorted((folder / "test_videos").iterdir()):
    with av.open(str(video)) as box:
        sure = 0.9 if box.streams.video[0].width >= 640 else BAD
    rows.append((video.name, sure if video.name < "h" else 1 - sure))
csv.writer(open("submission.csv", "w")).writerows([("filename", "label"), *rows])
"""


@pytest.fixture
def data(sample, tmp_path):
    """Four clips of the sample, 640 pixels wide, with labels that WIDTH knows."""
    folder = tmp_path / "data"
    (folder / "test_videos").mkdir(parents=True)
    (folder / "solution").mkdir()
    source = min((sample / "test_videos").iterdir(), key=lambda path: path.stat().st_size)
    names = ["a.mp4", "b.mp4", "x.mp4", "y.mp4"]
    for name in names:
        shutil.copy(source, folder / "test_videos" / name)
    rows = [f"{name},{int(name < 'h')},Public" for name in names]
    (folder / "solution" / "solution.csv").write_text("\n".join(["filename,label,Usage", *rows, ""]))
    return folder


@pytest.fixture
def compare(code_submission, data, tmp_path):
    def call(source, kinds, solution=None, **options):
        request = RunRequest(
            submission=read_code_submission(code_submission(source)),
            dataset=find_dataset(data, challenge.load(), solution),
            challenge=challenge.load(),
            profile_name="trial",
            profile=profiles.load(),
        )
        return robustness(request, choose("process"), tmp_path / "runs", NullListener(), kinds, **options)

    return call


def test_degradation_that_misleads_the_submission_is_first_and_worse(compare, tmp_path):
    report = compare(WIDTH.replace("BAD", "0.2"), ["re-encoding", "quarter-resolution"])
    assert report.outcome == "complete"
    assert report.clean.loss == pytest.approx(0.10536, abs=1e-4)
    assert [run.kind for run in report.kinds] == ["quarter-resolution", "re-encoding"]
    assert report.kinds[0].difference == pytest.approx(1.60944 - 0.10536, abs=1e-4)
    assert [verdict_of(run) for run in report.kinds] == ["worse", "no clear difference"]
    assert "Only 4 independent videos" in report.caution
    folder = tmp_path / "runs" / report.robustness_id
    assert (folder / FILE).is_file()
    page = (folder / PAGE).read_text()
    assert page.count("<img") == 12
    assert page.index("quarter-resolution") < page.index("re-encoding")
    assert not list(folder.glob(".videos-*"))
    (event,) = history.read(tmp_path / "runs")
    assert (event.kind, event.name, event.outcome) == (Kind.ROBUSTNESS, report.robustness_id, "complete")
    assert (event.local_score, event.local_rows) == (report.clean.loss, 4)
    assert event.message == "worst degradation: quarter-resolution, +1.5041"


def test_run_that_fails_on_degraded_videos_is_named_first_with_its_folder(compare, tmp_path):
    report = compare(WIDTH.replace("BAD", "1 / 0"), ["re-encoding", "quarter-resolution"], videos=2)
    assert report.outcome == "failed"
    assert report.videos == 2
    assert report.kinds[0].loss is None
    assert report.kinds[0].kind == "quarter-resolution"
    assert (tmp_path / "runs" / report.robustness_id / report.kinds[0].folder / "log.txt").is_file()


def test_submission_that_fails_on_clean_videos_is_run_on_no_copies(compare):
    report = compare("1 / 0", ["re-encoding"])
    assert (report.outcome, report.clean.kind, report.kinds) == ("failed", CLEAN, [])


def test_videos_without_labels_are_a_usage_error(compare, data):
    (data / "solution" / "solution.csv").unlink()
    with pytest.raises(UsageError, match="has no labels"):
        compare("", ["re-encoding"])


def test_videos_of_one_original_are_one_cluster(compare, data):
    rows = ["filename,label,original", "a.mp4,1,x.mp4", "b.mp4,1,y.mp4", "x.mp4,0,", "y.mp4,0,"]
    (data / "solution" / "solution.csv").write_text("\n".join([*rows, ""]))
    report = compare(WIDTH.replace("BAD", "0.2"), ["flip"])
    assert (report.videos, report.clusters) == (4, 2)
    assert report.outcome == "complete"
