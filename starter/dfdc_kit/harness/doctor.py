"""`dfdc doctor`: what works on this machine, what is missing, and how to fix it. Everything is tried, not guessed."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from dfdc_kit import challenge as challenges
from dfdc_kit import profiles
from dfdc_kit.errors import KitError
from dfdc_kit.files import PACKAGE, bundled
from dfdc_kit.formatting import plural
from dfdc_kit.harness.video_watch import VideoWatch
from dfdc_kit.kaggle.credentials import SIGN_IN_HINT, sources
from dfdc_kit.profiles import Limits, Profile
from dfdc_kit.sandbox import backends, check_cache
from dfdc_kit.sandbox.base import NOT_ENFORCED, Ending, Enforcement, Job, Outcome, SandboxBackend
from dfdc_kit.sandbox.monitor.gpu import NO_GPU, find_gpus
from dfdc_kit.sandbox.self_check import COULD_NOT_RUN
from dfdc_kit.scoring.metric import displayed, load_metric

GIB = 2**30
DISTRIBUTION = "dfdc-starter-kit"
REQUIRED_PACKAGES = ("numpy", "pandas", "scikit-learn", "av", "msgspec", "psutil", "typer", "rich")
EXTRAS = {  # extra -> its packages, and what needs them
    "kaggle": (("kaggle", "six"), "download and submit"),  # kaggle imports six without declaring it
    "notebook": (("IPython", "ipywidgets"), "submissions that are notebooks"),
    "faces": (("opencv-python-headless",), "the baselines face-stats and face-cnn, and made challenges"),
    "training": (("joblib", "pyarrow"), "training of the baseline face-cnn"),
    "torch": (("torch",), "the baseline face-cnn on a GPU"),
}
CPU_TORCH = "for a CPU only, first: pip install torch --index-url https://download.pytorch.org/whl/cpu"

Status = Literal["ok", "optional", "warning", "problem"]


class DoctorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report.

    `ok`; `optional`: missing, and needed by a named feature only; `warning`: runs work, but give or enforce less than
    the hosted machine; `problem`: runs do not work.
    """

    group: str
    name: str
    status: Status
    seen: str
    fix: str = ""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, and how each backend that works here enforces each limit of the default profile."""

    verdict: str
    findings: list[DoctorFinding]
    enforcement: dict[str, list[Enforcement]]


def examine() -> DoctorReport:
    """Try everything anew, remembered checks of the sandbox included; a check that itself fails is a problem."""
    check_cache.clear()
    profile = profiles.load()
    working = {name: backend for name, backend in backends(profile).items() if not backend.unavailable()}
    enforcement = {name: backend.enforcement(profile.limits) for name, backend in working.items()}
    checks: dict[str, Callable[[], Iterator[DoctorFinding]]] = {
        "Python": _python,
        "packages": _packages,
        "metric": _metric,
        "extras": _extras,
        "Kaggle credentials": _credentials,
        "hardware": lambda: _hardware(profile),
        "GPU": _gpu,
        "disk": _disk,
        "video decoding": _decoding,
        "sandbox": lambda: _sandbox(profile, enforcement),
        "video watching": _watching,
    }
    findings: list[DoctorFinding] = []
    for name, check in checks.items():
        try:
            findings += check()
        except (KitError, OSError, ImportError) as error:
            fix = f"pip install --force-reinstall {_this_kit()}"
            findings.append(DoctorFinding(group="Kit", name=name, status="problem", seen=str(error), fix=fix))
    return DoctorReport(verdict=_verdict(findings), findings=findings, enforcement=enforcement)


def _verdict(findings: list[DoctorFinding]) -> str:
    """Whether `dfdc run` works here, in one line."""
    names = {status: [one.name for one in findings if one.status == status] for status in ("problem", "warning")}
    if problems := names["problem"]:
        return f"Not ready: {plural(len(problems), 'problem')} ({', '.join(problems)})"
    if warnings := names["warning"]:
        return f"Ready, with {plural(len(warnings), 'warning')} ({', '.join(warnings)})"
    return "Ready: code submissions can be run, validated and scored here"


def _python() -> Iterator[DoctorFinding]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 11)
    fix = "Install Python 3.11 or newer, and create the virtual environment with it"
    yield _required("Kit", "Python", f"{version} at {sys.executable}", fix if old else "")


def _packages() -> Iterator[DoctorFinding]:
    for package in REQUIRED_PACKAGES:
        version = _version(package)
        yield _required("Kit", package, version or "not installed", "" if version else f"pip install {_this_kit()}")


def _metric() -> Iterator[DoctorFinding]:
    import pandas as pd

    metric = load_metric(challenges.load(challenges.BUNDLED).metric_path)
    solution = pd.DataFrame({"filename": ["a.mp4", "b.mp4"], "label": [0, 1]})
    value = displayed(metric.score(solution, solution.assign(label=0.5), "filename"))
    yield _required("Kit", "metric", f"constant 0.5 scores {value}", "" if value == "0.69314" else "dfdc parity")


def _extras() -> Iterator[DoctorFinding]:
    for extra, (packages, purpose) in EXTRAS.items():
        missing = [package for package in packages if _version(package) is None]
        if not missing:
            seen = ", ".join(f"{package} {_version(package)}" for package in packages)
            yield DoctorFinding(group="Extras", name=extra, status="ok", seen=seen)
            continue
        fix = f"pip install '{DISTRIBUTION}[{extra}]'" + (f" ({CPU_TORCH})" if extra == "torch" else "")
        seen = f"{' and '.join(missing)} not installed; needed for {purpose}"
        yield DoctorFinding(group="Extras", name=extra, status="optional", seen=seen, fix=fix)


def _credentials() -> Iterator[DoctorFinding]:
    """Where Kaggle credentials are; their values are never shown."""
    found = sources()
    if not found:
        seen = "none found; needed for download and submit"
        yield DoctorFinding(group="Extras", name="Kaggle credentials", status="optional", seen=seen, fix=SIGN_IN_HINT)
        return
    seen = ", ".join(source.place for source in found)
    if len(found) > 1 and found[0].kind == "token":
        seen += " (the first is used, even if it is invalid)"
    yield DoctorFinding(group="Extras", name="Kaggle credentials", status="ok", seen=seen)


def _hardware(profile: Profile) -> Iterator[DoctorFinding]:
    hosted_cores, hosted_bytes = profile.hardware.cpu_cores or 0, profile.limits.memory_bytes or 0
    cores, memory = os.cpu_count() or 1, psutil.virtual_memory().total
    hosted = f"hosted ({profiles.DEFAULT})"
    fix = "" if cores >= hosted_cores else "Runs take longer here than hosted"
    yield _machine("CPU cores", f"{cores}; {hosted}: {hosted_cores}", fix)
    seen = f"{memory / GIB:.0f} GiB; {hosted}: {hosted_bytes / GIB:.0f} GiB"
    yield _machine("memory", seen, "" if memory >= hosted_bytes else "A run that fits there may not fit here")


def _gpu() -> Iterator[DoctorFinding]:
    gpus, reason = find_gpus()
    if gpus:
        yield DoctorFinding(group="Machine", name="GPU", status="ok", seen=", ".join(gpus.names))
    elif reason == NO_GPU:
        seen = "none; what needs a GPU runs on the CPU, or cannot be tried here"
        yield DoctorFinding(group="Machine", name="GPU", status="optional", seen=seen)
    else:
        fix = f"pip install '{DISTRIBUTION}[gpu]'"
        yield DoctorFinding(group="Machine", name="GPU", status="warning", seen=f"not watched: {reason}", fix=fix)


def _disk() -> Iterator[DoctorFinding]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    writable = os.access(here, os.W_OK)
    seen = f"{free / GIB:.0f} GiB free in {here}" + ("" if writable else ", which is not writable")
    fix = "Run from a writable folder with free space, or give --out DIR"
    yield _required("Machine", "disk", seen, fix if not writable or free < GIB else "")


def _decoding() -> Iterator[DoctorFinding]:
    import av

    clip = min((bundled("sample_data") / challenges.load(challenges.BUNDLED).data.test_videos).glob("*.mp4"))
    started, frames, pixels = time.process_time(), 0, 0
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            frames, pixels = frames + 1, pixels + frame.width * frame.height
    rate = pixels / 1e6 / max(time.process_time() - started, 1e-9)
    seen = f"H.264 by PyAV {av.__version__}: {frames} frames, {rate:.0f} megapixels per CPU second"
    yield _required("Machine", "video decoding", seen, "" if frames else "pip install --force-reinstall av")


def _sandbox(profile: Profile, enforcement: dict[str, list[Enforcement]]) -> Iterator[DoctorFinding]:
    """Each backend: start a daemon in its own session, check that the daemon is gone, and that the limits hold."""
    if not enforcement:
        seen, fix = "no backend works here", "Fix one of the backends below"
        yield DoctorFinding(group="Sandbox", name="sandbox", status="problem", seen=seen, fix=fix)
    for name, backend in backends(profile).items():
        if reason := backend.unavailable():
            status: Status = "optional" if backend.optional else "warning"
            yield DoctorFinding(group="Sandbox", name=name, status=status, seen=reason, fix=backend.fix(reason))
            continue
        outcome = _leave_daemon(backend)
        if outcome.ending is not Ending.EXIT or outcome.exit_code != 0:
            seen = f"a trial run ended with {outcome.ending.value}, exit code {outcome.exit_code}"
            fix = "Use another backend: --backend NAME"
            yield DoctorFinding(group="Sandbox", name=name, status="problem", seen=seen, fix=fix)
            continue
        is_best = name == next(iter(enforcement))
        seen, fix = _gaps(enforcement[name])
        status = "warning" if seen and is_best else "ok"
        works = "works, and enforces or watches every limit"
        yield DoctorFinding(group="Sandbox", name=name, status=status, seen=seen or works, fix=fix if is_best else "")


def _gaps(limits: list[Enforcement]) -> tuple[str, str]:
    """The limits that are not enforced, with what to do about it; both empty if there are none."""
    missing = [limit for limit in limits if limit.status == NOT_ENFORCED]
    if not missing:
        return "", ""
    if unchecked := next((limit.how for limit in missing if COULD_NOT_RUN in limit.how), ""):
        reason = unchecked.partition(f"{COULD_NOT_RUN}: ")[2]
        fix = "Free space there, or set TMPDIR to a folder with free space" if "TMPDIR" in reason else "See the reason"
        return f"works, but its limits could not be checked: {reason}", fix
    names = ", ".join(limit.limit for limit in missing)
    return f"works, but does not enforce: {names}", "Run only programs that you trust, or fix a better backend"


def _leave_daemon(backend: SandboxBackend) -> Outcome:
    source = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n"
    with tempfile.TemporaryDirectory(prefix="dfdc-doctor-") as folder:
        stage = Path(folder)
        for name in ("kaggle/input", "kaggle/src", "kaggle/working", "tmp"):
            (stage / name).mkdir(parents=True)
        job = Job(
            command=[sys.executable, "-I", "-S", "-c", source],
            environment={"PATH": os.defpath},
            stage=stage,
            working=stage / "kaggle" / "working",
            temporary=stage / "tmp",
            log=stage / "log.txt",
        )
        return backend.run(job, Limits(wall_time_s=20), lambda _: None)


def _watching() -> Iterator[DoctorFinding]:
    with tempfile.TemporaryDirectory(prefix="dfdc-doctor-") as folder:
        with VideoWatch(Path(folder), lambda _: None) as watch:
            (Path(folder) / "trial.mp4").write_bytes(b"")
        works = [read.name for read in watch.reads()] == ["trial.mp4"]
    if works:
        yield DoctorFinding(group="Sandbox", name="video watching", status="ok", seen="inotify reports each video read")
        return
    seen = watch.caveat or "inotify did not report a trial file"
    fix = "Runs work, but without progress and times per video"
    yield DoctorFinding(group="Sandbox", name="video watching", status="warning", seen=seen, fix=fix)


def _required(group: str, name: str, seen: str, fix: str) -> DoctorFinding:
    """A problem if there is something to fix."""
    return DoctorFinding(group=group, name=name, status="problem" if fix else "ok", seen=seen, fix=fix)


def _machine(name: str, seen: str, fix: str) -> DoctorFinding:
    return DoctorFinding(group="Machine", name=name, status="warning" if fix else "ok", seen=seen, fix=fix)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _this_kit() -> str:
    """What to give to pip to install this kit again: the checkout it runs from, or its name."""
    checkout = PACKAGE.parents[1]
    return str(checkout) if (checkout / "pyproject.toml").is_file() else DISTRIBUTION
