"""The packages that a submission needs: what is reported where one is missing or has another version."""

import json

import pytest
from msgspec import structs

from dfdc_kit import profiles
from dfdc_kit.errors import SubmissionError
from dfdc_kit.report import html, run_report
from dfdc_kit.submission.code import read_code_submission
from dfdc_kit.submission.packages import (
    Place,
    distributions,
    explain_missing_module,
    explain_removed,
    hosted_packages,
    is_installed,
    unmet,
)

HALF = (
    "import os, pathlib\n"
    "sample = pathlib.Path(os.environ['DFDC_INPUT_DIR'], 'sample_submission.csv').read_text()\n"
    "pathlib.Path('submission.csv').write_text(sample)\n"
)
VERSIONS = {"torch": "2.1.0+cpu", "av": "14.1rc1", "odd": "unknown"}


@pytest.mark.parametrize(
    ("package", "told"),
    [
        ("torch", ""),
        ("torch>=2.0", ""),
        ("torch >= 2, < 3", ""),
        ("torch[cuda]==2.1.0", ""),
        ("av>=14", ""),
        ("absent>=9; python_version < '3'", ""),
        ("torch>=2.2", "torch>=2.2 (here 2.1.0+cpu)"),
        ("absent", "absent (not installed)"),
        ("absent>=1", "absent>=1 (not installed)"),
        ("odd", ""),
        ("odd>=1", "odd>=1 (here unknown)"),
    ],
)
def test_what_is_not_met(package, told):
    assert unmet([package], VERSIONS) == ([told] if told else [])


def test_names_without_versions():
    assert distributions(["torch>=2.0", "av", "opencv-python-headless[x] ; python_version > '3'"]) == [
        "torch",
        "av",
        "opencv-python-headless",
    ]


def test_what_no_package_can_be_called_is_the_submissions_fault(code_submission):
    folder = code_submission(HALF)
    (folder / "submission.toml").write_text('name = "x"\npackages = ["numpy", "torch >> 2", "a b"]\n')
    with pytest.raises(SubmissionError, match=r"packages.*'torch >> 2', 'a b'") as caught:
        read_code_submission(folder)
    assert "torch>=2.0" in caught.value.hint


def test_it_is_told_on_the_screen_and_on_the_page(dfdc, code_submission, tmp_path):
    folder = code_submission(HALF)
    (folder / "submission.toml").write_text('name = "x"\npackages = ["numpy>=99", "no-such-package", "av>=1"]\n')
    done = dfdc("run", folder, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "no-such-package" in line]
    assert "numpy>=99 (here " in line
    assert "av" not in line
    report = run_report.load(next((tmp_path / "runs").glob("*/")))
    assert report.machine.packages["no-such-package"] == "not installed"
    assert report.machine.packages["av"][0].isdigit()
    text = html.render(report)
    assert "no-such-package (not installed)" in text
    elsewhere = structs.replace(report, backend="oci")  # its image has packages of its own
    assert "no-such-package (not installed)" not in html.render(elsewhere)


def test_a_run_of_before_can_still_be_read(dfdc, code_submission, tmp_path):
    dfdc("run", code_submission(HALF))
    path = next((tmp_path / "runs").glob("*/run.json"))
    content = json.loads(path.read_text())
    del content["machine"]["unmet_requirements"]
    path.write_text(json.dumps(content))
    assert run_report.load(path).unmet_requirements == []


OLD, TODAY = (hosted_packages(profiles.load(name)) for name in ("kaggle-2020-gpu", "kaggle-today-gpu"))


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_of_a_hosted_machine_lists_its_packages_with_source_and_date(name):
    hosted = hosted_packages(profiles.load(name))
    if name == "unlimited":
        assert hosted is None
        return
    assert len(hosted.packages) > 150
    assert hosted.source
    assert hosted.as_of
    assert {"numpy", "pandas", "torch", "opencv-python", "scikit-learn", "pillow", "pyyaml"} <= set(hosted.packages)


@pytest.mark.parametrize(
    ("module", "hosted", "search_paths", "place", "part", "command"),
    [
        ("albumentations.pytorch", OLD, [], Place.HOSTED_IMAGE, "albumentations 0.4", "pip install albumentations"),
        ("cv2", OLD, [], Place.HOSTED_IMAGE, "(opencv-python 4.2)", "pip install opencv-python"),
        ("sklearn.svm", TODAY, [], Place.HOSTED_IMAGE, "scikit-learn 1.6.1", "pip install scikit-learn"),
        ("yaml", OLD, ["/kaggle/input/x"], Place.HOSTED_IMAGE, "(pyyaml)", "pip install pyyaml"),
        ("dlib", TODAY, [], Place.HOSTED_IMAGE, "dlib 19.24.6", "pip install dlib"),
        ("dlib", OLD, [], Place.NEEDS_WHEEL, "not in the hosted image (2020-02) either", "-d wheels dlib"),
        (
            "facenet_pytorch",
            TODAY,
            [],
            Place.NEEDS_WHEEL,
            "put its wheel into a folder wheels/",
            "-d wheels facenet-pytorch",
        ),
        ("blazeface", OLD, ["/kaggle/input/blazeface-pytorch"], Place.OWN_FILE, "/kaggle/input/blazeface-pytorch", ""),
        ("facenet_pytorch", OLD, ["/kaggle/input/facenet"], Place.OWN_FILE, "/kaggle/input/facenet", ""),
        ("helper_functions", None, [], Place.OWN_FILE, "a file of yours", ""),
    ],
)
def test_a_missing_module_is_answered_with_where_it_comes_from(module, hosted, search_paths, place, part, command):
    found = explain_missing_module(module, hosted, search_paths)
    assert found.place is place
    assert part in found.sentence
    assert found.command.endswith(command)
    assert bool(found.command) is bool(command)


@pytest.mark.parametrize(
    ("exception", "versions", "feature", "works"),
    [
        ("AttributeError: 'DataFrame' object has no attribute 'append'", {"pandas": "2.3.1"}, "DataFrame.append", True),
        ("AttributeError: module 'numpy' has no attribute 'float'.", {"numpy": "2.1.0"}, "np.float", True),
        ("ImportError: cannot import name 'compare_ssim' from 'skimage.measure'", {}, "compare_ssim", True),
        ("AttributeError: module 'tensorflow' has no attribute 'Session'", {}, "TensorFlow 1", False),
        ("ModuleNotFoundError: No module named 'torch._six'", {"torch": "2.13.0+cpu"}, "torch._six", True),
    ],
)
def test_a_removed_function_is_named_with_the_version_that_removed_it(exception, versions, feature, works):
    found = explain_removed(exception, versions, [OLD, TODAY])
    assert feature in found.sentence
    assert found.hosted_works is works
    assert all(f"here {version}" in found.sentence for version in versions.values())


def test_versions_of_each_profile_are_named_for_a_removed_function():
    found = explain_removed("'DataFrame' object has no attribute 'append'", {"pandas": "2.3.1"}, [OLD, TODAY])
    assert found.sentence == (
        "pandas 2.0 removed DataFrame.append (here 2.3.1; Kaggle's Python image of February 2020: 0.25 or 1.0; "
        "Kaggle's Python image of 2026: 2.3.3). Use pd.concat."
    )
    today = explain_removed("'DataFrame' object has no attribute 'append'", {"pandas": "2.3.1"}, [TODAY])
    assert today.hosted_works is False


def test_an_attribute_that_the_installed_version_still_has_is_not_called_removed():
    assert explain_removed("'DataFrame' object has no attribute 'append'", {"pandas": "1.5.3"}, [OLD]) is None
    assert explain_removed("'Detector' object has no attribute 'append'", {"pandas": "2.3.1"}, [OLD]) is None


def test_modules_of_the_standard_library_and_of_installed_distributions_are_installed():
    assert is_installed("json")
    assert is_installed("numpy.linalg")
    assert is_installed("sklearn")
    assert not is_installed("no_such_module_at_all")


def test_module_of_kaggles_images_only_cannot_be_installed():
    found = explain_missing_module("kaggle_secrets", None)
    assert (found.place, found.command) == (Place.HOSTED_IMAGE, "")
    assert "no internet" in found.sentence
