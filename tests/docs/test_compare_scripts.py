"""docs/compare_*.py: each makes its table of a folder with few videos. What the tables say is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS, TRAIN = ROOT / "docs", ROOT / "sample_data/train_sample_videos"
ONE_ROUND = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
import compare_rules, side_by_side
side_by_side.ROUNDS = 1
runpy.run_path(sys.argv.pop(1) + "/" + sys.argv.pop(1), run_name="__main__")
"""


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """Two originals with their fakes."""
    pytest.importorskip("cv2", reason="faces are found with OpenCV")
    folder = tmp_path_factory.mktemp("few")
    metadata = json.loads((TRAIN / "metadata.json").read_text(encoding="utf-8"))
    fakes = {said["original"]: name for name, said in metadata.items() if said["original"]}
    names = [name for pair in sorted(fakes.items())[:2] for name in pair]
    videos = folder / "train_sample_videos"
    videos.mkdir()
    for name in names:
        (videos / name).symlink_to(TRAIN / name)
    (videos / "metadata.json").write_text(json.dumps({name: metadata[name] for name in names}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("script", "rows"),
    [
        ("compare_rules.py", ["mean", "median"]),
        ("compare_reading.py", ["exact frames", "fast mode"]),
        ("compare_regions.py", ["outline of the mesh", "ellipse in the detector's box"]),
    ],
)
def test_a_table_is_made(script: str, rows: list[str], few: Path):
    command = [sys.executable, "-B", "-c", ONE_ROUND, DOCS, script, few]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for row in rows:
        assert f"\n| {row} | 0." in done.stdout


@pytest.mark.parametrize("script", ["compare_rules.py", "compare_reading.py", "compare_regions.py"])
def test_help_says_what_it_compares(script: str):
    done = subprocess.run([sys.executable, "-B", DOCS / script, "--help"], capture_output=True, text=True)
    assert f"python docs/{script} [DATA_FOLDER]" in done.stderr
