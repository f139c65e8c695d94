"""The packages that a submission needs: what is told where one is missing or has another version."""

import json

import pytest
from msgspec import structs

from dfdc_kit.errors import SubmissionError
from dfdc_kit.report import html, run_report
from dfdc_kit.submission.code import read_code_submission
from dfdc_kit.submission.packages import distributions, unmet

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
    assert "needed, and not so here: numpy>=99 (here " in line
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
