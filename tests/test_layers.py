"""The house stands: imports point down only, and heavy packages come in where they are used, not before."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = [  # top to bottom; packages in one row do not import each other
    {"__main__"},
    {"cli"},
    {"kaggle.submit"},
    {"harness"},
    {"kaggle"},
    {"report"},
    {"sandbox", "scoring", "submission", "data"},
    {"challenge", "profiles", "csv_text"},
    {"settings"},
    {"files"},
    {"formatting"},
    {"errors"},
]
DEPTH = {room: depth for depth, row in enumerate(LAYERS) for room in row}
PACKAGE = Path(__file__).resolve().parents[1] / "starter" / "dfdc_kit"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts)


def room(path: Path) -> str:
    return layer(list(path.relative_to(PACKAGE).with_suffix("").parts))


def layer(parts: list[str]) -> str:
    return "kaggle.submit" if parts[:2] == ["kaggle", "submit"] else parts[0]


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path):
    here = room(path)
    if here == "__init__":
        assert not [name for name in imports(path) if name.startswith("dfdc_kit")]
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "dfdc_kit" or len(parts) < 2 or layer(parts[1:]) not in DEPTH:
            continue
        there = layer(parts[1:])
        assert there == here or DEPTH[there] > DEPTH[here], f"{path.name} ({here}) imports {name}: not a lower room"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_cli_knows_typer_and_rich_and_nobody_torch(path):
    tops = {name.split(".")[0] for name in imports(path)}
    assert "torch" not in tops
    if room(path) not in {"cli", "__main__"}:
        assert not tops & {"typer", "rich", "click"}


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["score", "--help"], ["--version"]])
def test_help_is_light(command):
    """`dfdc --help` answers without the packages that take seconds to import."""
    heavy = ("numpy", "pandas", "sklearn", "scipy", "torch", "kaggle", "av", "msgspec", "psutil")
    code = (
        "import sys; sys.argv = ['dfdc', *sys.argv[1:]]\n"
        "from dfdc_kit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_files_stay_small():
    """A file past 400 lines wants to be two rooms."""
    assert {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 400} == {}
