"""The documentation is correct: its commands run, its generated pages match the code, its links resolve."""

import doctest
import importlib
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.main import get_command

from dfdc_kit import challenge as challenges
from dfdc_kit.cli.app import build_app
from dfdc_kit.report.scored_submission import read_scored_submission
from dfdc_kit.scoring.metric import displayed

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("baselines/*.md"), *ROOT.glob("sample_data/*.md")]
)
WITH_EXAMPLES = [path for path in (ROOT / "starter").rglob("*.py") if ">>>" in path.read_text("utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_docstring_examples_pass(path: Path):
    name = ".".join(path.relative_to(ROOT / "starter").with_suffix("").parts)
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def small_sample(folder: Path, videos: int) -> None:
    """The bundled sample with the first `videos` clips of each folder only."""
    sample = ROOT / "sample_data"
    for name, table in (("solution", "solution.csv"), (".", "sample_submission.csv")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        lines = (sample / name / table).read_text().splitlines(keepends=True)
        (folder / name / table).write_text("".join([lines[0], *sorted(lines[1:])[:videos]]))
    for name in ("test_videos", "train_sample_videos"):
        (folder / name).mkdir()
        for clip in sorted((sample / name).glob("*.mp4"))[:videos]:
            shutil.copy2(clip, folder / name)
    metadata = json.loads((sample / "train_sample_videos" / "metadata.json").read_text())
    kept = {name: metadata[name] for name in sorted(metadata)[:videos]}
    (folder / "train_sample_videos" / "metadata.json").write_text(json.dumps(kept))


ALL_VIDEOS = 16


@pytest.fixture
def checkout(videos, tmp_path) -> Path:
    """A copy of the project with `videos` of the sample; its `.venv` is this environment, its home folder has data."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "starter", copy / "starter")  # with its compiled modules
    for name in ("Makefile", "pyproject.toml", "evaluate.py", "baselines"):
        (copy / name).symlink_to(ROOT / name)
    small_sample(copy / "sample_data", videos)
    (copy / "tests").mkdir()
    (copy / "tests" / "test_nothing.py").write_text("def test_nothing(): pass\n")
    (copy / ".venv").mkdir()
    (copy / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    for stamp in (".core", ".dev"):
        (copy / ".venv" / stamp).touch()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "deepfake-detection-challenge").symlink_to(copy / "sample_data")
    return copy


@pytest.mark.parametrize(
    ("page", "videos"),
    [
        ("README.md", 4),
        pytest.param("README.md", ALL_VIDEOS, marks=pytest.mark.slow),
        pytest.param("docs/tutorial.md", 4, marks=pytest.mark.slow),
    ],
)
def test_every_command_block_runs(page, videos, checkout):
    """In order, as one session; `make test` runs one empty test here. Python blocks are edits of `predict`."""
    session = re.findall(r"^```(sh|python)\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert any(language == "sh" for language, _ in session)
    script = ["set -ex"]
    for number, (language, block) in enumerate(session):
        if language == "python":
            (checkout / f"edit-{number}").write_text(block)
        script.append(block if language == "sh" else f"python {Path(__file__).parent}/edit_predict.py edit-{number}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environment |= {"HOME": str(checkout.parent / "home"), "NO_COLOR": "1", "COLUMNS": "80"}
    # no activation needed: the copy's .venv is this environment
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout / "starter"),
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for promised in blocks(ROOT / page, "text"):
        assert row_names(promised) == row_names(done.stdout)[: len(row_names(promised))]
        for line in re.findall(r"^  score .*$", promised, re.MULTILINE) if videos == ALL_VIDEOS else ():
            assert line.split() in [printed.split() for printed in done.stdout.split("\n")]
    if page.endswith("tutorial.md"):
        scores = re.findall(r"^my-detector: .*\n  score +([\d.]+)", done.stdout, re.MULTILINE)
        assert scores[0] != scores[1], "the edit of `predict` changed nothing"


def test_readme_shows_the_score_of_the_expected_predictions(tmp_path):
    challenge, folder = challenges.load(), ROOT / "baselines/face-cnn"
    predictions = json.loads((folder / "expected.json").read_text("utf-8"))["predictions"]
    submission = pd.DataFrame({"filename": list(predictions), "label": list(predictions.values())})
    submission.to_csv(tmp_path / "submission.csv", index=False)
    scored = read_scored_submission(
        str(tmp_path / "submission.csv"), ROOT / "sample_data/solution/solution.csv", tmp_path, challenge
    )
    assert len(scored.names) == ALL_VIDEOS
    (promised,) = re.findall(r"^  score +(\S+) log loss", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert displayed(float(scored.row_losses().mean())) == promised


def row_names(text: str) -> list[str]:
    """The names of the rows of a run's summary, but for those that depend on the machine."""
    return [row for row in re.findall(r"^ {2,4}(\w+) {2,}\S", text, re.MULTILINE) if row not in ("note", "warning")]


def test_generated_pages_are_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in generate.PAGES.items():
        assert page() == (ROOT / "docs" / "reference" / name).read_text("utf-8"), f"{name} is out of date: make docs"


def leaves(group, *words: str):
    """Every command that is no group, with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, *words, name)
        elif not command.hidden:
            yield " ".join(("dfdc", *words, name)), command


COMMANDS = dict(leaves(get_command(build_app())))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_short_summary_and_examples(name):
    """At 80 columns `dfdc --help` has 53 for a summary, that of a group 63; examples and text are not wrapped."""
    text = inspect.cleandoc(COMMANDS[name].help)
    summary = text.split("\n\n")[0]
    assert len(summary) <= (63 if name.count(" ") > 1 else 53), summary
    assert summary.endswith(".")
    examples = text.partition("Examples:\n\n")[2].splitlines()
    assert examples
    assert all(line.startswith(f"    {name}") for line in examples)
    assert all(len(line) <= 78 for line in text.splitlines())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_help_text(name):
    for parameter in COMMANDS[name].params:
        if getattr(parameter, "hidden", False):
            continue
        assert parameter.help, parameter.name
        assert len(parameter.help) <= 80, parameter.help


def test_help_fits_80_columns_and_shows_no_type_for_flags(dfdc):
    done = dfdc("run", "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "<bool>" not in done.stdout
    assert "    dfdc run baselines/frame-stats" in done.stdout


def test_blend_is_the_mean_of_the_logits_and_names_the_program_that_fails(tmp_path):
    for name, label in (("one", 0.9), ("two", 0.2)):
        (tmp_path / name).mkdir()
        source = f"open('submission.csv', 'w').write('filename,label\\na.mp4,{label}\\n')"
        (tmp_path / name / "main.py").write_text(source)
    command = [sys.executable, shutil.copy(ROOT / "docs/blend.py", tmp_path / "main.py")]
    (tmp_path / "working").mkdir()
    subprocess.run(command, cwd=tmp_path / "working", check=True)
    (row,) = pd.read_csv(tmp_path / "working/submission.csv").itertuples(index=False)
    assert (row.filename, row.label) == ("a.mp4", pytest.approx(0.6))  # odds 9 and 1/4: their geometric mean is 3/2
    (tmp_path / "two/main.py").write_text("raise SystemExit(3)")
    failed = subprocess.run(command, cwd=tmp_path / "working", capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.strip() == "two ended with exit code 3"
