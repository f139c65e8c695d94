"""The data folder of a run: its sample submission, and the files beside it."""

import shutil

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.dataset import find_dataset, sample_mismatch

HALF = "import pathlib, os\nsample = pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'sample_submission.csv').read_text()\n"


@pytest.fixture
def data(tmp_path, sample):
    """A data folder with videos a, b, c and the names given in its sample submission."""

    def make(*listed: str):
        folder = tmp_path / "data"
        (folder / "test_videos").mkdir(parents=True)
        clip = next((sample / "test_videos").glob("*.mp4"))
        for name in "abc":
            shutil.copy(clip, folder / "test_videos" / f"{name}.mp4")
        (folder / "sample_submission.csv").write_text("filename,label\n" + "".join(f"{n}.mp4,0.5\n" for n in listed))
        return folder

    return make


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("cab", ""),
        ("abcd", "1 listed video is missing (d.mp4)."),
        ("a", "2 videos are not listed (b.mp4, c.mp4)."),
        (
            "abxyz",
            "3 listed videos are missing (x.mp4, y.mp4, z.mp4); 1 video is not listed",
        ),
    ],
)
def test_sample_mismatch_names_missing_and_extra_videos(data, listed, message):
    challenge = challenges.load(challenges.BUNDLED)
    found = sample_mismatch(find_dataset(data(*listed), challenge), challenge)
    assert message in found
    assert bool(message) == bool(found)


def test_sample_mismatch_leaves_a_broken_sample_to_the_run(data):
    challenge = challenges.load(challenges.BUNDLED)
    folder = data("a")
    (folder / "sample_submission.csv").write_text("nonsense")
    assert sample_mismatch(find_dataset(folder, challenge), challenge) == ""


def test_run_warns_of_a_mismatch_and_goes_on(dfdc, code_submission, data, tmp_path):
    folder = code_submission(HALF + "pathlib.Path('submission.csv').write_text(sample)")
    done = dfdc("run", folder, "--data", data("a", "b", "d"), "--json")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("warning")]
    assert "sample_submission.csv" in line
    assert "(d.mp4)" in line
    assert "(c.mp4)" in line
