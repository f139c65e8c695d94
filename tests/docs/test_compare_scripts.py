"""docs/compare_*.py: each prints its table for a folder with few videos. The content of the tables is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # they detect faces for 10 seconds, and only make tables of the documentation
ROOT = Path(__file__).resolve().parents[2]
DOCS, TRAIN = ROOT / "docs", ROOT / "sample_data/train_sample_videos"
SCRIPTS = {
    "compare_rules.py": ["mean", "median"],
    "compare_reading.py": ["exact frames", "fast mode"],
    "compare_regions.py": ["outline of the mesh", "ellipse in the detector's box"],
}
RUN_ALL = """
import contextlib, io, json, runpy, sys
docs, folder, *scripts = sys.argv[1:]
sys.path.insert(0, docs)
import compare_rules, main, side_by_side
side_by_side.ROUNDS, main.FRAMES = 1, 6

def run(script, *arguments):
    sys.argv = [script, *arguments]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(f"{docs}/{script}", run_name="__main__")
    except SystemExit as ended:
        print(ended.code, file=printed)
    return printed.getvalue()

print(json.dumps({script: [run(script, folder), run(script, "--help")] for script in scripts}))
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, list[str]]:
    """The table and the help of each script, for two originals with their fakes; all in one process."""
    pytest.importorskip("cv2", reason="faces are detected with OpenCV")
    folder = tmp_path_factory.mktemp("few")
    metadata = json.loads((TRAIN / "metadata.json").read_text(encoding="utf-8"))
    fakes = {entry["original"]: name for name, entry in metadata.items() if entry["original"]}
    names = [name for pair in sorted(fakes.items())[:2] for name in pair]
    videos = folder / "train_sample_videos"
    videos.mkdir()
    for name in names:
        (videos / name).symlink_to(TRAIN / name)
    (videos / "metadata.json").write_text(json.dumps({name: metadata[name] for name in names}), encoding="utf-8")
    command = [sys.executable, "-B", "-c", RUN_ALL, DOCS, folder, *SCRIPTS]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_prints_its_table(script: str, printed: dict[str, list[str]]):
    table, _ = printed[script]
    for row in SCRIPTS[script]:
        assert f"\n| {row} | 0." in table


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_the_usage(script: str, printed: dict[str, list[str]]):
    assert f"python docs/{script} [DATA_FOLDER]" in printed[script][1]
