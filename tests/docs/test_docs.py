"""The documentation does what it says: its commands run, its pages match the code, its links lead somewhere."""

import doctest
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.main import get_command

from dfdc_kit.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("baselines/*.md"), *ROOT.glob("sample_data/*.md")]
)


WITH_EXAMPLES = [path for path in (ROOT / "starter").rglob("*.py") if ">>>" in path.read_text("utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_in_docstrings_hold(path: Path):
    name = ".".join(path.relative_to(ROOT / "starter").with_suffix("").parts)
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the project whose `.venv` is this environment, and a home folder with the challenge's data."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in ("Makefile", "pyproject.toml", "README.md", "evaluate.py"):
        shutil.copy2(ROOT / name, copy)
    for name in ("baselines", "sample_data", "tests", "starter"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / ".venv").mkdir()
    (copy / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    for stamp in (".core", ".dev"):
        (copy / ".venv" / stamp).touch()
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(ROOT / "sample_data", home / "deepfake-detection-challenge")
    return copy


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_every_command_block_runs(page, checkout):
    """In order, as one session. `make test` only collects here: it is what is running at this moment."""
    commands = blocks(ROOT / page, "sh")
    assert commands
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environment |= {"HOME": str(checkout.parent / "home"), "PYTEST_ADDOPTS": "--collect-only -q -p no:cacheprovider"}
    # no activation needed: the copy's .venv is this environment
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1", "COLUMNS": "80"}
    script = "set -ex\n" + "\n".join(commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=checkout, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    if page == "README.md":
        (promised,) = blocks(ROOT / page, "text")
        assert summary_rows(promised) == summary_rows(done.stdout)[: len(summary_rows(promised))]
        score = re.search(r"^  score .*$", promised, re.MULTILINE)
        assert score is not None
        assert score[0].split() in [line.split() for line in done.stdout.split("\n")]


def summary_rows(text: str) -> list[str]:
    """The names of the rows of a run's summary, but for those that depend on the machine."""
    return [row for row in re.findall(r"^ {2,4}(\w+) {2,}\S", text, re.MULTILINE) if row not in ("other", "note")]


def test_generated_pages_are_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, page in generate.PAGES.items():
        on_disk = (ROOT / "docs" / "reference" / name).read_text("utf-8")
        if name == "cli.md" and f"<!-- typer {metadata.version('typer')} -->" not in on_disk:
            continue  # another typer lays the page out differently; its content is checked below
        assert page() == on_disk, f"{name} is out of date: make docs"


def leaves(group, *words: str):
    """Every command that is no group, by the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, *words, name)
        else:
            yield " ".join(("dfdc", *words, name)), command


def test_the_command_page_knows_every_command_and_option():
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    commands = dict(leaves(get_command(app)))
    assert set(commands) <= set(re.findall(r"^###* `(dfdc .+)`", page, flags=re.MULTILINE))
    for name, command in commands.items():
        section = re.split(r"\n##+ ", page.split(f"## `{name}`")[1])[0].lower().replace("_", "-")
        for parameter in command.params:
            argument = parameter.param_type_name == "argument"
            names = [parameter.metavar or parameter.name] if argument else [*parameter.opts, *parameter.secondary_opts]
            for option in names:
                assert option.strip("[].").lower().replace("_", "-") in section, f"{name}: {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("command", sorted(name for name, _ in leaves(get_command(app))))
def test_every_command_has_help_with_an_example(dfdc, command):
    done = dfdc(*command.split()[1:], "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert command in done.stdout
