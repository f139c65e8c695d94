"""Results of sandbox trials are remembered for this boot, user and program, and never trusted from a foreign file."""

import json

import pytest

from dfdc_kit.sandbox import check_cache
from dfdc_kit.sandbox.base import ENFORCED, Enforcement
from dfdc_kit.sandbox.process import ProcessBackend
from dfdc_kit.sandbox.self_check import checked


@pytest.fixture(autouse=True)
def cache_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "dfdc" / check_cache.FILE


def test_why_failing_tries_once_until_the_cache_is_cleared():
    tried = []
    for _ in range(2):
        assert check_cache.why_failing("x", lambda: tried.append(1) or "") == ""
    assert len(tried) == 1
    check_cache.clear()
    check_cache.why_failing("x", lambda: tried.append(1) or "")
    assert len(tried) == 2


def test_why_failing_tries_again_after_a_failure():
    assert check_cache.why_failing("x", lambda: "AppArmor forbids it") == "AppArmor forbids it"
    assert check_cache.why_failing("x", lambda: "") == ""


def test_why_failing_tries_again_for_another_program_version():
    check_cache.why_failing("x", lambda: "", version="bwrap 1")
    assert check_cache.why_failing("x", lambda: "broken", version="bwrap 2") == "broken"


def test_why_failing_stores_nothing_when_the_trial_raises(cache_file):
    with pytest.raises(OSError, match="no room"):
        check_cache.why_failing("x", lambda: (_ for _ in ()).throw(OSError("no room")))
    assert not cache_file.exists()


def test_recall_finds_nothing_after_a_restart_of_the_machine(monkeypatch, tmp_path):
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(check_cache, "SYSTEM_FILES", (str(boot),))
    for boot_id in ("one", "two"):
        boot.write_text(boot_id)
        check_cache._environment.cache_clear()
        assert check_cache.recall("x") is None
        check_cache.store("x", "")
    check_cache._environment.cache_clear()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"a": 1}', b'{"a": {"x": "forged"}'])
def test_recall_ignores_a_broken_file(cache_file, content):
    cache_file.parent.mkdir()
    cache_file.write_bytes(content)
    assert check_cache.recall("x") is None
    check_cache.store("x", "result")
    assert check_cache.recall("x") == "result"


def test_recall_ignores_a_file_that_others_can_write(cache_file):
    check_cache.store("x", "result")
    cache_file.chmod(0o666)
    assert check_cache.recall("x") is None


def test_store_does_nothing_where_the_cache_folder_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    check_cache.store("x", "result")
    assert check_cache.recall("x") is None


def test_store_keeps_only_the_newest_environments(cache_file):
    for number in range(check_cache.MOST_KEYS + 3):
        check_cache.store("x", number, version=str(number))
    assert len(json.loads(cache_file.read_bytes())) == check_cache.MOST_KEYS
    assert check_cache.recall("x", version="0") is None


def test_checked_uses_a_remembered_self_check():
    backend = ProcessBackend()
    check_cache.store(f"self-check {ProcessBackend.__qualname__}", {"log": "the log grew"}, backend.version())
    claims = [Enforcement(limit="log", status=ENFORCED, how="dropped")]
    assert [claim.how for claim in checked(backend, claims)] == ["tried: the log grew"]
