"""What a backend claims is checked, and what is required is enforced or refused."""

import os

import pytest
from msgspec import structs

from dfdc_kit import profiles
from dfdc_kit.errors import SandboxError, UsageError
from dfdc_kit.sandbox import BACKENDS, LIMITS, check_cache, choose, enforcement, process, self_check, supervise
from dfdc_kit.sandbox.base import never
from dfdc_kit.sandbox.bubblewrap import BubblewrapBackend
from dfdc_kit.sandbox.oci import OciBackend
from dfdc_kit.sandbox.process import ProcessBackend
from dfdc_kit.sandbox.self_check import failed_limits


@pytest.mark.parametrize("name", sorted(set(BACKENDS) - {"oci"}))
def test_enforcement_names_every_limit_of_a_profile(name):
    if reason := BACKENDS[name].unavailable():
        pytest.skip(reason)
    limits = profiles.load().limits
    claims = {claim.limit: claim for claim in BACKENDS[name].enforcement(limits)}
    assert set(claims) == set(LIMITS)
    assert all(claim.how for claim in claims.values())
    if len(os.sched_getaffinity(0)) < (profiles.load("kaggle-2020-cpu").limits.cpu_cores or 0):
        wider = profiles.load("kaggle-2020-cpu").limits
        assert "fewer" in next(c.how for c in BACKENDS[name].enforcement(wider) if c.limit == "cpu_cores")


def test_choose_returns_the_named_backend_that_enforces_what_is_required():
    assert choose("process", profiles.load(), ["wall_time", "memory"]).name == "process"


def test_choose_refuses_unknown_and_unset_limits():
    with pytest.raises(UsageError, match="'netwrk'") as fault:
        choose("", profiles.load(), ["netwrk"])
    assert fault.value.hint.startswith("Did you mean 'network'?")
    with pytest.raises(UsageError, match="sets no such limit"):
        choose("process", profiles.load("unlimited"), ["network"])


@pytest.mark.parametrize("name", ["bubblewrap", "process"])
def test_self_check_confirms_every_claim(name):
    """Else the conformance suite would skip what does not hold, because the report admits it."""
    if reason := BACKENDS[name].unavailable():
        pytest.skip(reason)
    missing = [kind for kind in ("namespaces", "landlock", "filter") if process.why_unavailable(kind)]
    if missing and name == "process":
        pytest.skip(f"this kernel lacks {', '.join(missing)}")
    assert failed_limits(BACKENDS[name]) == {}


@pytest.fixture
def old_kernel(monkeypatch):
    """A machine without namespaces, Landlock and filters, as far as the process backend knows."""

    def unavailable(mechanism: str) -> str:
        return f"{mechanism} switched off"

    monkeypatch.setattr(process, "why_unavailable", unavailable)
    monkeypatch.setattr(supervise, "why_unavailable", unavailable)
    monkeypatch.setattr(enforcement, "why_unavailable", unavailable)
    backend = ProcessBackend()
    monkeypatch.setitem(BACKENDS, "process", backend)
    return backend


def test_process_backend_reports_what_an_old_kernel_cannot_enforce(old_kernel):
    claims = {claim.limit: claim for claim in old_kernel.enforcement(profiles.load().limits)}
    for limit in ("network", "hidden_files", "cpu_cores"):
        assert claims[limit].status == "NOT ENFORCED HERE"
        assert "switched off" in claims[limit].how
    with pytest.raises(SandboxError, match=r"network is NOT ENFORCED HERE.*switched off"):
        choose("process", profiles.load(), ["memory", "network"])
    assert choose("process", profiles.load(), ["memory"]) is old_kernel


def test_choice_says_why_it_is_not_the_best_backend(monkeypatch):
    monkeypatch.setattr(BubblewrapBackend, "unavailable", lambda self: "bwrap cannot start")
    monkeypatch.setattr(OciBackend, "unavailable", lambda self: "no engine")
    said = []
    assert choose("", profiles.load(), warn=said.append).name == "process"
    assert said == [
        "Using the sandbox backend process: bubblewrap does not work here (bwrap cannot start). See: dfdc doctor"
    ]
    said.clear()
    choose("process", profiles.load(), warn=said.append)
    assert said == []


def test_enforcement_is_not_enforced_when_self_check_contradicts_the_claim(old_kernel, monkeypatch, tmp_path):
    """Claims as on a good kernel, confinement as on an old one: the self-check finds the difference."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing is remembered
    monkeypatch.setattr(process, "_confinement", lambda job, limits: {})
    monkeypatch.setattr(process, "why_unavailable", lambda mechanism: "")
    claims = {claim.limit: claim for claim in ProcessBackend().enforcement(profiles.load().limits)}
    for limit in ("network", "hidden_files", "read_only_input"):
        assert claims[limit].status == "NOT ENFORCED HERE"
        assert claims[limit].how.startswith("tried: ")
    assert claims["memory"].status == "watched"
    assert "self-check" not in str(check_cache._read())  # a contradicted claim is tried again next time


@pytest.mark.parametrize("limit", ["wall_time", "processes", "output", "scratch", "log", "descendants"])
def test_self_check_names_a_limit_that_is_not_enforced(limit, monkeypatch):
    """A backend that keeps all limits but one: the trial names that one."""
    fields = {"wall_time": "wall_time_s", "descendants": None, "processes": "processes"}
    field = fields.get(limit, f"{limit}_bytes")
    kept = []

    class Careless(ProcessBackend):
        def run(self, job, limits, on_output, should_stop=never):
            outcome = super().run(
                job, structs.replace(limits, **({field: None} if field else {})), on_output, should_stop
            )
            if field is None and (job.working / "held").exists():  # as a daemon that was not ended would
                kept.append(os.open(job.working / "held", os.O_RDWR))
            return outcome

    short = {name: (how.replace("sleep(20)", "sleep(2)"), *rest) for name, (how, *rest) in self_check.EXCESSES.items()}
    monkeypatch.setattr(self_check, "EXCESSES", short)
    assert set(failed_limits(Careless())) == {limit}
    for held in kept:
        os.close(held)


def test_process_backend_closes_the_network_by_filter_without_namespaces(monkeypatch, tmp_path):
    if process.why_unavailable("filter"):
        pytest.skip(process.why_unavailable("filter"))
    real = process.why_unavailable
    monkeypatch.setattr(process, "why_unavailable", lambda m: "switched off" if m == "namespaces" else real(m))
    claims = {claim.limit: claim for claim in ProcessBackend().enforcement(profiles.load().limits)}
    assert claims["network"].status == "enforced"
    assert "filter" in claims["network"].how
