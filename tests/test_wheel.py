"""The wheel contains exactly what it should, and works without a checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wheel(root, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def tracked(root: Path, folder: str) -> set[str]:
    """Files of the project below a folder: those that git tracks, or all where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        return set(listed.stdout.split())
    return {str(path.relative_to(root)) for path in (root / folder).rglob("*") if path.is_file()}


def test_the_wheel_contains_exactly_the_tracked_files(root, wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {name.removeprefix("starter/") for name in tracked(root, "starter")}
    data = {f"dfdc_kit/bundled/{name}" for folder in ("baselines", "sample_data") for name in tracked(root, folder)}
    assert names == package | data | {"dfdc_kit/bundled/evaluate.py"}


def test_the_installed_wheel_runs_and_scores_a_baseline(wheel, tmp_path):
    """Installed into an environment of its own, away from the checkout: a scored run, and no module `evaluate`."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    third_party = next(
        path for path in sys.path if path.endswith("site-packages")
    )  # third-party packages, but no .pth of ours
    environment = {**os.environ, "PYTHONPATH": third_party, "NO_COLOR": "1"}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    where = call("-c", "import dfdc_kit; print(dfdc_kit.__file__)").stdout
    assert Path(where.strip()).is_relative_to(site)
    assert "No module named 'evaluate'" in call("-c", "import evaluate").stderr
    done = call("-m", "dfdc_kit", "run", "baselines/constant")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0.69314" in done.stdout
