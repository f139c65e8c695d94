"""What a job may see of this machine: programs, packages wherever Python finds them, and nothing else."""

import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from dfdc_kit.files import ROOT
from dfdc_kit.sandbox import visible_paths
from dfdc_kit.sandbox.visible_paths import mount_plan, package_folders, program_roots, readable_paths


@pytest.fixture
def on_path(monkeypatch):
    """`on_path(name, ...)` makes these the only entries of sys.path."""
    sysconfig.get_path("purelib")  # imports a module once
    return lambda *names: monkeypatch.setattr(sys, "path", list(map(str, names)))


def test_package_folders_has_absolute_and_relative_folders_and_zip_files(on_path, tmp_path, monkeypatch):
    for name in ("one", "two", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "three.zip").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "work")
    on_path(tmp_path / "one", "../two", tmp_path / "three.zip", tmp_path / "missing", tmp_path / "one")
    found = [path.resolve() for path in package_folders()]
    assert found == [tmp_path / "one", tmp_path / "two", tmp_path / "three.zip"]


def test_package_folders_leaves_out_the_kit_the_current_folder_home_and_what_holds_them(on_path, tmp_path, monkeypatch):
    (tmp_path / "work" / "here").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work" / "here")
    on_path("", ".", tmp_path / "work", tmp_path / "home", ROOT / "starter", ROOT, ROOT.parent, "/", sys.prefix)
    assert package_folders() == []


def test_package_folders_has_the_user_site_below_home(on_path, tmp_path, monkeypatch):
    user_site = tmp_path / ".local" / "lib" / "python3.11" / "site-packages"
    user_site.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    on_path(user_site)
    assert package_folders() == [user_site]
    assert user_site in program_roots()
    assert str(user_site) in readable_paths([tmp_path])[0]
    assert str(tmp_path) not in readable_paths([tmp_path])[0]


def test_package_folders_has_what_an_editable_install_maps(tmp_path, monkeypatch):
    (tmp_path / "src" / "mine").mkdir(parents=True)
    hook = ModuleType("__editable___mine_finder")
    hook.MAPPING = {"mine": str(tmp_path / "src" / "mine")}
    hook.Finder = type("Finder", (), {"__module__": hook.__name__, "find_spec": lambda *_: None})
    monkeypatch.setitem(sys.modules, hook.__name__, hook)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, hook.Finder])
    monkeypatch.setattr(sys, "path", [])
    assert package_folders() == [tmp_path / "src" / "mine"]


def test_mount_plan_covers_this_kit_in_a_folder_of_packages(on_path, tmp_path, monkeypatch):
    kit = tmp_path / "packages" / "dfdc_kit"
    kit.mkdir(parents=True)
    monkeypatch.setattr(visible_paths, "ROOT", kit)
    monkeypatch.setattr(visible_paths, "PACKAGE", kit)
    on_path(kit.parent)
    plan = dict(mount_plan([]))
    assert plan[kit.parent]
    assert not plan[kit]


def test_mount_plan_covers_hidden_files_below_a_package_folder(on_path, tmp_path):
    packages = tmp_path / "packages"
    (packages / "data").mkdir(parents=True)
    (packages / "labels.csv").write_text("x")
    on_path(packages)
    plan = dict(mount_plan([packages / "data", packages / "labels.csv"]))
    assert plan[packages]
    assert not plan[packages / "data"]
    assert not plan[packages / "labels.csv"]


@pytest.mark.parametrize("backend", ["bubblewrap", "process"])
def test_run_imports_packages_from_a_relative_pythonpath(backend, dfdc_process, tmp_path, sample, code_submission):
    for name in ("work", "listed"):
        (tmp_path / name).mkdir()
    (tmp_path / "listed" / "from_pythonpath.py").write_text("value = 1")
    source = "import shutil, from_pythonpath\nprint('value', from_pythonpath.value)\n"
    source += "shutil.copy('../input/deepfake-detection-challenge/sample_submission.csv', 'submission.csv')\n"
    done = dfdc_process(
        *("run", code_submission(source), "--backend", backend, "--data", sample, "--out", tmp_path / "runs"),
        cwd=tmp_path / "work",
        PYTHONPATH="../listed",
    )
    log = next((tmp_path / "runs").glob("*/log.txt")).read_text()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{log}"
    assert "value 1" in log


def test_program_roots_hold_this_python():
    assert Path(sys.prefix) in program_roots()
