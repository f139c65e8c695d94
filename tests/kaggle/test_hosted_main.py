"""What `dfdc submit` pushes runs with the mounts of Kaggle, today's and those of 2020."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.errors import SubmissionError
from dfdc_kit.kaggle.client import connect
from dfdc_kit.kaggle.submit.bundle import ARCHIVE, kernel_bundle, pack, with_first_cell
from dfdc_kit.kaggle.submit.kaggle_host import KaggleHost
from dfdc_kit.kaggle.submit.request import request_warnings, submit_request
from dfdc_kit.submission.code import read_code_submission

ROOT = Path(__file__).resolve().parents[2]
SLUG = challenges.load().slug
QUICK = {"constant", "frame-stats"}  # the others only with -m slow
BASELINES = [
    pytest.param(path.parent, id=path.parent.name, marks=() if path.parent.name in QUICK else pytest.mark.slow)
    for path in sorted(ROOT.glob("baselines/*/submission.toml"))
]
TODAY, IN_2020 = ("competitions/{slug}", "datasets/ada/{files}"), ("{slug}", "{files}")
MIXED = ("competitions/{slug}", "{files}")  # reported, too


@pytest.fixture
def hosted(tmp_path):
    """Run what would be pushed, with Kaggle's folders below `tmp_path`; an empty place: not attached."""

    def call(
        submission: Path,
        places: tuple[str, str] = TODAY,
        *,
        upload_to=None,
        unpacked: bool = False,
        changed: str = "",
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        sent = kernel_bundle(read_code_submission(submission), SLUG, accelerator="")
        kernel, dataset = pack(sent, "ada", tmp_path / "bundle")
        assert dataset is not None
        if upload_to:
            KaggleHost(connect()).create_dataset("ada/dfdc-trial-files", dataset)
            shutil.rmtree(dataset)
            for name, content in upload_to.world.mounted("ada/dfdc-trial-files").items():
                (dataset / name).parent.mkdir(parents=True, exist_ok=True)
                (dataset / name).write_bytes(content)
        if unpacked:
            with tarfile.open(dataset / ARCHIVE) as archive:
                archive.extractall(dataset, filter="data")
            (dataset / ARCHIVE).unlink()
        if changed:
            (dataset / "submission" / changed).write_text("changed")
        for place, source in zip(places, (ROOT / "sample_data", dataset), strict=True):
            if place:
                target = tmp_path / "input" / place.format(slug=SLUG, files=sent.dataset_slug)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)
        (tmp_path / "working").mkdir()
        text, count = re.subn('"/kaggle/input"', repr(str(tmp_path / "input")), (kernel / sent.code_file).read_text())
        assert count == 1
        (tmp_path / "script.py").write_text(text)
        return subprocess.run(
            [sys.executable, "-B", tmp_path / "script.py"],
            cwd=tmp_path / "working",
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call


@pytest.mark.runs_submission
@pytest.mark.parametrize("folder", BASELINES)
def test_hosted_main_gives_the_expected_predictions_of_a_baseline(folder, hosted, tmp_path):
    done = hosted(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "working" / "submission.csv").open(newline="") as file:
        predictions = {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}
    assert len(predictions) == len((ROOT / "sample_data" / "sample_submission.csv").read_text().split()) - 1
    if (folder / "expected.json").exists():
        known = json.loads((folder / "expected.json").read_text("utf-8"))
        assert predictions == pytest.approx(known["predictions"], abs=known["tolerance"])


LOOKS_AROUND = """
import os, pathlib
import beside
print(pathlib.Path(os.environ["DFDC_INPUT_DIR"], "test_videos").is_dir())
print(pathlib.Path(__file__).with_name("weights").joinpath("a.txt").read_text(), beside.VALUE, os.getcwd())
print(os.environ.get("KAGGLE_IS_COMPETITION_RERUN"))
"""


@pytest.fixture
def looks_around(code_submission):
    folder = code_submission(LOOKS_AROUND)
    (folder / "beside.py").write_text("VALUE = 7")
    (folder / "weights").mkdir()
    (folder / "weights" / "a.txt").write_text("a weight")
    return folder


@pytest.mark.parametrize("places", [TODAY, IN_2020, MIXED], ids=["today", "2020", "mixed"])
def test_hosted_main_finds_files_and_modules_beside_the_program(looks_around, hosted, tmp_path, places):
    done = hosted(looks_around, places, KAGGLE_IS_COMPETITION_RERUN="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True", f"a weight 7 {tmp_path / 'working'}", "1"]


def test_hosted_main_runs_a_program_in_a_subfolder(code_submission, hosted):
    folder = code_submission("raise SystemExit('not this one')")
    (folder / "src").mkdir()
    (folder / "src" / "main.py").write_text("print('this one')")
    (folder / "submission.toml").write_text('name = "trial"\nentry_point = "src/main.py"\n')
    assert hosted(folder).stdout == "this one\n"


def test_hosted_main_installs_wheels(code_submission, hosted):
    folder = code_submission("import planted_package\nprint(planted_package.VALUE)")
    (folder / "wheels").mkdir()
    name = "planted_package-1.0"
    with zipfile.ZipFile(folder / "wheels" / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("planted_package.py", "VALUE = 'from a wheel'")
        wheel.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: planted-package\nVersion: 1.0\n")
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    (folder / "submission.toml").write_text('name = "trial"\npackages = ["Planted.Package", "insightface"]\n')
    done = hosted(folder)
    assert (done.returncode, done.stdout) == (0, "from a wheel\n"), done.stderr
    (doubt,) = request_warnings(submit_request(read_code_submission(folder), challenges.load()))
    assert "downloaded: insightface; add it as a wheel" in doubt


NAMES = (  # Kaggle's client drops some of them, Kaggle unpacks others
    *(".cache/index", ".huggingface/token", "README.md", "config/expected.json", "config/submission.toml"),
    *("datapackage.json", "dataset-cover-image.png", "dataset-metadata.json", "empty.txt", "expected.json"),
    *("model-metadata.json", "model.zip", "more.tar.gz", "ok", "prompts/system.md", "weights.pkl.gz"),
)
READS_ALL = """
import pathlib, sys
here = pathlib.Path(__file__).parent
found = sorted(p.relative_to(here).as_posix() for p in here.rglob("*") if p.is_file())
print(found == sorted([*sys.argv[1:], "main.py", "submission.toml"]) or found)
print({(here / name).read_bytes() for name in sys.argv[1:]} == {b"content of its own"})
"""


@pytest.fixture
def uploading(code_submission):
    folder = code_submission(READS_ALL)
    (folder / "submission.toml").write_text(f'name = "trial"\nentry_point = "main.py {" ".join(NAMES)}"\n')
    for name in NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"content of its own")
    return folder


def test_every_file_arrives_at_kaggle_as_it_is(uploading, hosted, kaggle_server, tmp_path):
    """Uploaded by the real client, mounted as Kaggle does."""
    done = hosted(uploading, upload_to=kaggle_server)
    assert (done.returncode, done.stdout) == (0, "True\nTrue\n"), done.stdout + done.stderr
    assert [*kaggle_server.world.mounted("ada/dfdc-trial-files")] == [ARCHIVE]


def test_hosted_main_names_files_that_changed_on_the_way(uploading, hosted, tmp_path):
    done = hosted(uploading, unpacked=True, changed="prompts/system.md")
    assert done.returncode == 1
    assert "missing or changed on the way to Kaggle: prompts/system.md" in done.stderr


def test_hosted_main_uses_an_archive_that_kaggle_has_unpacked(uploading, hosted):
    done = hosted(uploading, unpacked=True)
    assert (done.returncode, done.stdout) == (0, "True\nTrue\n"), done.stderr


def test_hosted_main_runs_a_script_with_notebook_syntax(code_submission, hosted):
    pytest.importorskip("IPython")
    folder = code_submission("# In[1]:\nimport beside\n!echo from a shell\nprint(beside.VALUE)\n")
    (folder / "beside.py").write_text("VALUE = 7")
    done = hosted(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line][1:] == ["from a shell", "7"]


def test_hosted_main_names_the_missing_dataset(looks_around, hosted):
    done = hosted(looks_around, (TODAY[0], ""))
    assert done.returncode == 1
    assert "none of datasets/ada/dfdc-trial-files, dfdc-trial-files is in" in done.stderr


@pytest.mark.parametrize("source", ["raise ValueError('no model')", "import sys; print('so far'); sys.exit(3)"])
def test_hosted_main_fails_when_the_program_fails(code_submission, hosted, source):
    """The traceback is in the log, and the notebook fails, too."""
    done = hosted(code_submission(source))
    assert done.returncode == 1
    assert "no model" in done.stdout or "so far" in done.stdout
    assert re.search(r"main.py exited with code [13]", done.stderr)


def test_first_cell_of_a_notebook_prepares_input_and_modules(tmp_path, monkeypatch):
    (tmp_path / "mine.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": "import beside"}]}))
    (tmp_path / "submission.toml").write_text('name = "mine"\nentry_point = "mine.ipynb"\n')
    (tmp_path / "beside.py").write_text("")
    sent = kernel_bundle(read_code_submission(tmp_path), SLUG, "")
    kernel, dataset = pack(sent, "ada", tmp_path / "out")
    assert dataset is not None
    assert sorted(path.name for path in dataset.iterdir()) == ["dataset-metadata.json", ARCHIVE]
    first, second = json.loads((kernel / "mine.ipynb").read_text())["cells"]
    assert second["source"] == "import beside"
    for place in (SLUG, sent.dataset_slug):
        shutil.copytree(dataset, tmp_path / "input" / place)
    monkeypatch.setenv("DFDC_INPUT_DIR", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(first["source"].replace('"/kaggle/input"', repr(str(tmp_path / "input"))), {})
    assert os.environ["DFDC_INPUT_DIR"] == str(tmp_path / "input" / SLUG)
    assert sorted(path.name for path in Path(sys.path[0]).iterdir()) == ["beside.py", "submission.toml"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"cells": 1}', b"\xff"])
def test_invalid_notebook_is_refused(content):
    with pytest.raises(SubmissionError, match="notebook cannot be read"):
        with_first_cell(content, "")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"kernelspec": {"display_name": "Python [conda env:dfd]", "language": "python", "name": "conda-env-dfd-py"}},
        {"kaggle": {"isInternetEnabled": True, "isGpuEnabled": True, "dataSources": [{"sourceId": 1}]}},
    ],
)
@pytest.mark.parametrize(("minor", "has_id"), [(4, False), (5, True), (None, False)])
def test_pushed_notebook_has_the_kernel_python3_and_no_foreign_metadata(metadata, minor, has_id):
    notebook = {"cells": [], "metadata": metadata, "nbformat": 4}
    notebook |= {} if minor is None else {"nbformat_minor": minor}
    sent = json.loads(with_first_cell(json.dumps(notebook).encode(), "x = 1"))
    assert sent["metadata"]["kernelspec"] == {"name": "python3", "language": "python", "display_name": "Python 3"}
    assert sent["metadata"].keys() == {"kernelspec", "language_info"}
    assert ("id" in sent["cells"][0]) is has_id
    pytest.importorskip("nbformat").validate(sent)


def test_notebook_of_nbformat_3_is_converted():
    old = [
        {"cell_type": "heading", "level": 1, "source": ["Title"]},
        {"cell_type": "code", "language": "python", "input": ["x = 1\n", "x"], "outputs": [{"output_type": "pyout"}]},
    ]
    content = {"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": old}]}
    sent = json.loads(with_first_cell(json.dumps(content).encode(), "y = 2"))
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in sent["cells"]] == [
        ("code", "y = 2"),
        ("markdown", "Title"),
        ("code", "x = 1\nx"),
    ]
    pytest.importorskip("nbformat").validate(sent)
