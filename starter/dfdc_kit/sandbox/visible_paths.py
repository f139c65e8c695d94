"""What a job sees: its stage, and of this machine the system's programs and libraries and the Python that runs it."""

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from dfdc_kit.files import PACKAGE, ROOT
from dfdc_kit.sandbox.base import WRITABLE, Job

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt")
ETC_FILES = (  # in /etc: how programs find libraries, fonts, certificates, time zones, users and services
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "fonts", "mime.types", "magic", "terminfo"),
    *("localtime", "timezone", "locale.alias", "locale.conf", "default/locale", "os-release", "lsb-release"),
    *("debian_version", "machine-id", "hostname", "hosts", "host.conf", "resolv.conf", "nsswitch.conf", "gai.conf"),
    *("passwd", "group", "shells", "protocols", "services", "networks", "rpc", "inputrc", "profile", "bash.bashrc"),
    *("ssl/openssl.cnf", "ssl/certs", "ssl/cert.pem", "ca-certificates", "ca-certificates.conf", "pki/tls/certs"),
    *("pki/tls/cert.pem", "pki/ca-trust/extracted", "crypto-policies", "ImageMagick-6", "OpenCL", "vulkan", "glvnd"),
)
SYS_FOLDERS = (  # of hardware and limits: what asks whether they exist then reads them
    *("/sys/devices", "/sys/class", "/sys/block", "/sys/bus", "/sys/module", "/sys/fs/cgroup", "/sys/kernel/mm"),
)
CPU_TOPOLOGY = ("/sys/devices/system/cpu", "/sys/devices/system/node")  # math libraries size their threads by it
GPU_DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", *(f"nvidia{i}" for i in range(16)))  # in /dev
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")  # in /dev


def python_prefixes() -> set[Path]:
    """Where the running Python and its packages are installed, by every path that leads there."""
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    return prefixes | {prefix.resolve() for prefix in prefixes}


def package_folders() -> list[Path]:
    """Folders (or zip files) on sys.path outside the prefixes: user site, PYTHONPATH, targets of .pth files; and the
    packages of editable installs, which setuptools finds by an import hook.

    Left out are those that show more than packages: this kit, the current directory, home, and whatever contains these.
    """
    known = [base.resolve() for base in (*python_prefixes(), *map(Path, SYSTEM))]
    private = [Path.cwd().resolve(), _home(), *([] if ROOT == PACKAGE else [ROOT])]  # of a wheel, `mount_plan` hides it
    found = []
    hooks = [sys.modules.get(getattr(finder, "__module__", "")) for finder in sys.meta_path]
    editable = [path for hook in hooks for path in dict(getattr(hook, "MAPPING", {})).values()]
    for name in dict.fromkeys(filter(None, [*sys.path, *editable])):
        path = Path(name).absolute()
        real = path.resolve()
        if not path.exists() or any(real.is_relative_to(base) for base in known):
            continue
        if real.is_relative_to(ROOT) or any(folder.is_relative_to(real) for folder in private):
            continue
        found.append(path)
    return found


def _home() -> Path:
    try:
        return Path.home().resolve()
    except RuntimeError:  # no home folder is known
        return Path("/root")


def program_roots() -> list[Path]:
    """The folders of programs, libraries and packages that a job may read."""
    system = [folder for folder in map(Path, SYSTEM) if folder.is_dir() and not folder.is_symlink()]
    return [*system, *python_prefixes(), *package_folders()]


Mount = tuple[str, str, str]  # kind, source, target: see `mounts`


def mounts(job: Job) -> Iterator[Mount]:
    """The file system of a job, except /proc and /dev: what to mount, in this order.

    Kinds: "bind"; "ro", a read-only bind; "try", the same unless the source is missing; "link", a symbolic link to
    `source`; "cover", an empty folder over `target`, sealed in the end.
    """
    job.make_folders()
    for name, target in WRITABLE.items():
        yield "bind", str(job.temporary / name), str(target)
    for name in ("input", "src"):
        yield "ro", str(job.stage / "kaggle" / name), f"/kaggle/{name}"
    for path, source in job.mounts.items():
        yield "ro", str(source), job.inside(path)
    yield "bind", str(job.working), job.inside(job.working)
    yield from system_mounts(job.hidden)


def system_mounts(hidden: Iterable[Path] = ()) -> Iterator[Mount]:
    """The part of `mounts` that is the same for every job but for what is `hidden`."""
    for folder in map(Path, SYSTEM):
        if folder.is_symlink():
            yield "link", str(folder.readlink()), str(folder)
    for name in (*(f"/etc/{name}" for name in ETC_FILES), *CPU_TOPOLOGY):
        yield "try", name, name
    for path, is_shown in mount_plan(hidden):  # after the writable folders: Python may be below /tmp or /root
        if is_shown:
            yield "ro", str(path), str(path)
        elif path.is_dir():
            yield "cover", "", str(path)
        else:
            yield "ro", os.devnull, str(path)


def mount_plan(hidden: Iterable[Path]) -> list[tuple[Path, bool]]:
    """Which paths to show (True) and to cover (False), parents first; each applies to all below it, up to the next.

    Shown are the `program_roots`, without `hidden` (files and folders) and without this kit: the hosted machine does
    not have it, and it contains labels. A root itself is never covered.
    """
    roots = program_roots()
    marks = dict.fromkeys(roots, True)
    for path in (ROOT, Path(sysconfig.get_path("purelib")) / PACKAGE.name, *hidden):
        real = path.resolve()
        for root in roots:
            base = root.resolve()
            if real.exists() and real.is_relative_to(base):
                marks.setdefault(root / real.relative_to(base), False)
    plan: dict[Path, bool] = {}
    for path, is_shown in sorted(marks.items(), key=lambda mark: len(mark[0].parts)):
        if is_shown != next((plan[folder] for folder in path.parents if folder in plan), False):
            plan[path] = is_shown
    return list(plan.items())


def readable_paths(hidden: Iterable[Path]) -> tuple[list[str], list[str]]:
    """The paths below which a job may read, and the folders of which it may only list the names.

    A Landlock rule applies to everything below a path, without exceptions: where something below a root is hidden, its
    siblings are named one by one.
    """
    read, list_only = [*(f"/etc/{name}" for name in ETC_FILES), *SYS_FOLDERS], []
    marks = {path.resolve(): is_shown for path, is_shown in mount_plan(hidden)}
    waiting = [path for path, is_shown in marks.items() if is_shown]
    while waiting:
        path = waiting.pop()
        if not any(mark != path and mark.is_relative_to(path) for mark in marks):
            read.append(str(path))
        else:
            list_only.append(str(path))
            with suppress(OSError):  # no permission
                waiting += [entry for entry in path.iterdir() if not entry.is_symlink() and marks.get(entry, True)]
    return read, list_only
