"""Every sandbox backend against programs that misbehave: `tests/cases/programs/<behaviour>/{main.py,expect.toml}`.

Each is a code submission, run through the whole harness. A program prints ESCAPED when something worked that must not.
`expect.toml`: `verdict` and `ending` (one or several), `why_contains`, `log_contains`; `needs`, the limits whose
enforcement it tries: where the report itself says NOT ENFORCED HERE, it is skipped with that reason; `[limits]`,
changes of TIGHT; `[<backend>]`, what differs there, with its `reason`, and `escapes` where ESCAPED is no escape.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import socket
import time
import tomllib
from pathlib import Path

import psutil
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.data.dataset import find_dataset
from dfdc_kit.harness.request import NullListener, RunRequest
from dfdc_kit.harness.run import run
from dfdc_kit.profiles import Hardware, Limits, Profile
from dfdc_kit.report import run_report
from dfdc_kit.sandbox import BACKENDS
from dfdc_kit.sandbox.oci import OciBackend
from dfdc_kit.submission.code import read_code_submission

PROGRAMS = Path(__file__).parents[1] / "cases" / "programs"
MIB = 1 << 20
TIGHT = {
    "wall_time_s": 20.0,
    "cpu_cores": 1,
    "memory_bytes": 160 * MIB,
    "processes": 64,
    "output_bytes": 8 * MIB,
    "scratch_bytes": 12 * MIB,
    "log_bytes": 1 << 16,
}
AT_MOST_S = 60.0  # none takes a tenth of that; what hangs takes all of it
LEFT = {"run.json", "log.txt", "submission.csv", "fallbacks.csv"}
FILES = ["submission.csv", "fallbacks.csv"]  # of the run folder, that a program has a say in
SHM_KEY = 0x0DFDC
KEYS = {"verdict", "ending", "why_contains", "log_contains", "needs", "limits", "escapes"}
CASES = sorted(path.parent.name for path in PROGRAMS.glob("*/expect.toml"))


@pytest.fixture(scope="module")
def outside(tmp_path_factory, sample):
    """What there is to be found and reached outside: data with labels, secrets, servers; and what reached them."""
    folder = tmp_path_factory.mktemp("outside")
    data = folder / "data"
    (data / "test_videos").mkdir(parents=True)
    videos = sorted((sample / "test_videos").glob("*.mp4"), key=lambda path: path.stat().st_size)[:2]
    for video in videos:
        shutil.copy(video, data / "test_videos")
    rows = [f"{video.name},{at % 2}" for at, video in enumerate(videos)]
    (data / "sample_submission.csv").write_text("\n".join(["filename,label", *(f"{v.name},0" for v in videos)]) + "\n")
    _training_folder(data, videos)
    truth = folder / "truth.csv"
    truth.write_text("\n".join(["filename,label", *rows]) + "\n")
    (folder / ".token").write_text("a-secret-token")
    with contextlib.ExitStack() as stack:
        servers = {"tcp": stack.enter_context(socket.create_server(("127.0.0.1", 0)))}
        with contextlib.suppress(OSError):
            servers["ipv6"] = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        for name, address in (("unix", str(folder / "socket")), ("abstract", f"\0{folder.name}-{os.getpid()}")):
            servers[name] = stack.enter_context(socket.socket(socket.AF_UNIX))
            servers[name].bind(address)
            servers[name].listen(8)
        home = [path for path in sorted(Path.home().iterdir()) if path.is_file()][:4]
        places = {
            "labels": str(truth),
            "home_files": [str(path) for path in (*home, folder / ".token")],
            "checkout_files": [
                __file__,
                str(PROGRAMS.parents[2] / "evaluate.py"),
                str(sample / "sample_submission.csv"),
            ],
            "harness_pid": os.getpid(),
            "tcp": servers["tcp"].getsockname()[1],
            "ipv6": servers["ipv6"].getsockname()[1] if "ipv6" in servers else 1,
            "udp": udp.getsockname()[1],
            "unix": str(folder / "socket"),
            "abstract": f"{folder.name}-{os.getpid()}",
            "token": "a-secret-token",
            "key": _key(),
            "shm": f"dfdc-{folder.name}-{os.getpid()}",
            "shm_key": SHM_KEY,
        }
        yield data, truth, places, udp


def _training_folder(data: Path, scored: list[Path]) -> None:
    """A training folder with the scored videos, one under its own name and one under another, and one more."""
    folder = data / "train_sample_videos"
    folder.mkdir()
    shutil.copy(scored[0], folder)
    shutil.copy(scored[1], folder / "renamed.mp4")
    (folder / "other.mp4").write_bytes(b"other")
    rows = {name: {"label": "REAL", "original": None} for name in (scored[0].name, scored[1].name, "renamed.mp4")}
    rows["other.mp4"] = {"label": "FAKE", "original": scored[1].name}
    (folder / "metadata.json").write_text(json.dumps(rows))


def _key() -> str:
    """A key in a session keyring of this process's own, as a login leaves one; its name."""
    name = f"dfdc-conformance-{os.getpid()}"
    numbers = {"x86_64": (250, 248), "aarch64": (219, 217)}.get(os.uname().machine)
    if numbers:
        libc = ctypes.CDLL(None)
        libc.syscall(numbers[0], 1, None)  # KEYCTL_JOIN_SESSION_KEYRING: ends with this process
        libc.syscall(numbers[1], b"user", name.encode(), b"secret", 6, -3)
    return name


@pytest.fixture(params=["bubblewrap", "process", pytest.param("oci", marks=pytest.mark.container)])
def backend(request):
    oci = OciBackend(os.environ.get("DFDC_TEST_IMAGE", ""))  # an image with python3; nothing else is needed
    found = {**BACKENDS, "oci": oci}[request.param]
    if reason := found.unavailable():
        pytest.skip(f"{request.param} does not work here: {reason}")
    return found


@pytest.mark.parametrize("behaviour", CASES)
def test_behaviour(behaviour, backend, outside, tmp_path, monkeypatch):
    data, truth, places, udp = outside
    expect = tomllib.loads((PROGRAMS / behaviour / "expect.toml").read_text())
    expect |= expect.get(backend.name, {})
    profile = _profile(expect.get("limits", {}))
    _skip_where_admitted(backend, profile.limits, expect.get("needs", []))
    monkeypatch.setenv("KAGGLE_API_TOKEN", places["token"])
    mark = f"dfdc-{behaviour}-{backend.name}-{os.getpid()}"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mark)  # one of the few variables that are passed on
    others = psutil.Process().children(recursive=True)  # of earlier tests, such as a pool's workers
    before = _contents(data), truth.read_bytes()

    started = time.monotonic()
    report = run(
        _request(behaviour, data, truth, places, profile, tmp_path), backend, tmp_path / "runs", NullListener()
    )
    took_s = time.monotonic() - started

    folder = next((tmp_path / "runs").glob("*/"))
    log = (folder / "log.txt").read_bytes().decode(errors="replace")
    _holds(report, log, expect)
    if "opens-udp" in behaviour:
        udp.setblocking(False)
        with pytest.raises(BlockingIOError):
            udp.recv(10)
    assert took_s < AT_MOST_S
    assert (_contents(data), truth.read_bytes()) == before
    assert not [path for path in Path("/dev/shm").glob("dfdc-*") if path.name in (places["shm"], "dfdc-conformance")]
    assert ctypes.CDLL(None).shmget(SHM_KEY, 0, 0) == -1
    _nothing_is_left(folder, mark, others)
    assert run_report.load(folder) == report


def _profile(changes: dict[str, object]) -> Profile:
    return Profile(
        title="tight", limits=Limits(**(TIGHT | changes)), hardware=Hardware(), source={}, as_of="2026-11-24"
    )


def _skip_where_admitted(backend, limits: Limits, needs: list[str]) -> None:
    admitted = {claim.limit: claim.how for claim in backend.enforcement(limits) if claim.status.startswith("NOT")}
    for limit in needs:
        if limit in admitted:
            pytest.skip(f"{limit} is not enforced here, and the report says so: {admitted[limit]}")


def _request(behaviour: str, data: Path, truth: Path, places: dict, profile: Profile, tmp_path: Path) -> RunRequest:
    code = tmp_path / "code"
    shutil.copytree(PROGRAMS / behaviour, code)
    shutil.copy(PROGRAMS / "common.py", code)
    (code / "places.json").write_text(json.dumps(places))
    challenge = challenges.load()
    return RunRequest(
        submission=read_code_submission(code),
        dataset=find_dataset(data, challenge, truth),
        challenge=challenge,
        profile_name="tight",
        profile=profile,
    )


def _holds(report, log: str, expect: dict) -> None:
    said = f"{report.judgement.why}\n{log[-2000:]}"
    assert report.judgement.verdict.value in _several(expect["verdict"]), said
    assert report.observation.outcome.ending.value in _several(expect.get("ending", "exit")), said
    assert expect.get("why_contains", "") in report.judgement.why
    for text in expect.get("log_contains", []):
        assert text in log
    if not expect.get("escapes", False):
        assert "ESCAPED" not in log, log
    if report.judgement.verdict.value == "complete":
        assert report.score is not None
        assert report.score.displayed in ("0.69314", "1.20397")  # always 0.5; or 0.9 of the orphan


def _several(one: str | list[str]) -> list[str]:
    return [one] if isinstance(one, str) else one


def _nothing_is_left(folder: Path, mark: str, others: list[psutil.Process]) -> None:
    assert {path.name for path in folder.iterdir()} <= LEFT
    for name in FILES:
        path = folder / name
        assert not path.is_symlink()
        assert path.is_file() or not path.exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    children = set(psutil.Process().children(recursive=True)) - set(others)
    assert [child for child in children if child.status() != psutil.STATUS_ZOMBIE] == []
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("CUDA_VISIBLE_DEVICES") == mark or str(folder) in " ".join(process.cmdline()):
                found.append(process.pid)
    assert found == []


def _contents(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Digest, mode and time of change of every file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (digest, state.st_mode, state.st_mtime_ns)
    return found


def test_there_are_enough_and_each_exception_has_a_reason():
    assert len(CASES) >= 40
    for behaviour in CASES:
        expect = tomllib.loads((PROGRAMS / behaviour / "expect.toml").read_text())
        unknown = expect.keys() - {*KEYS, *BACKENDS}
        assert not unknown, behaviour
        for name in BACKENDS:
            assert expect.get(name, {"reason": "none"}).get("reason"), behaviour
