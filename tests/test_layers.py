"""Imports point down the layers only, and heavy packages are imported where they are used."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

LAYERS = [  # top to bottom; packages in one row do not import each other
    {"__main__"},
    {"cli"},
    {"competition"},
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
DEPTH = {name: depth for depth, row in enumerate(LAYERS) for name in row}
PACKAGE = Path(__file__).resolve().parents[1] / "starter" / "dfdc_kit"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts)


def layer_of(path: Path) -> str:
    return layer(list(path.relative_to(PACKAGE).with_suffix("").parts))


def layer(parts: list[str]) -> str:
    return "kaggle.submit" if parts[:2] == ["kaggle", "submit"] else parts[0]


@cache
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
    own = layer_of(path)
    if own == "__init__":
        assert not [name for name in imports(path) if name.startswith("dfdc_kit")]
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "dfdc_kit" or len(parts) < 2 or layer(parts[1:]) not in DEPTH:
            continue
        other = layer(parts[1:])
        assert other == own or DEPTH[other] > DEPTH[own], f"{path.name} ({own}) imports {name}: not a lower layer"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_cli_imports_typer_and_rich_and_no_module_imports_torch(path):
    tops = {name.split(".")[0] for name in imports(path)}
    assert "torch" not in tops
    if layer_of(path) not in {"cli", "__main__"}:
        assert not tops & {"typer", "rich", "click"}


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["score", "--help"], ["--version"]])
def test_help_imports_no_heavy_package(command):
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


def test_no_file_has_more_than_400_lines():
    """No file has more than 400 lines."""
    assert {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 400} == {}
