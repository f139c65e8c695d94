"""What programs ask about the machine, the user, the time and the locale."""

import ctypes
import ctypes.util
import datetime
import getpass
import grp
import locale
import mimetypes
import multiprocessing
import os
import platform
import pwd
import random
import resource
import secrets
import shutil
import signal
import socket
import sys
import sysconfig
import time
import uuid
import zoneinfo
from pathlib import Path

from common import run_checks


def existing_files_can_be_read(*names):
    """A file that exists must be readable: `if exists(f): open(f)` is how libraries look for it."""
    for name in names:
        if os.path.exists(name):
            with open(name, "rb") as file:
                file.read(1)


def check_cpu_count():
    assert os.cpu_count() >= 1
    assert multiprocessing.cpu_count() >= 1
    assert len(os.sched_getaffinity(0)) >= 1


def check_proc_cpuinfo():
    assert "processor" in Path("/proc/cpuinfo").read_text()


def check_proc_meminfo():
    assert "MemTotal" in Path("/proc/meminfo").read_text()


def check_proc_self():
    assert Path("/proc/self/status").read_text()
    assert Path("/proc/self/maps").read_text()
    assert os.readlink("/proc/self/exe")
    assert os.listdir("/proc/self/fd")


def check_proc_stat_and_loadavg():
    existing_files_can_be_read("/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version", "/proc/filesystems")


def check_proc_kernel_settings():
    existing_files_can_be_read("/proc/sys/kernel/osrelease", "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/file-max")


def check_proc_mounts():
    assert Path("/proc/mounts").read_text()
    assert Path("/proc/self/mountinfo").read_text()


def check_control_group_files():
    existing_files_can_be_read(
        "/proc/self/cgroup",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us",
        "/sys/fs/cgroup/cpu.max",
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    )


def check_cpu_topology():
    existing_files_can_be_read(
        "/sys/devices/system/cpu/online",
        "/sys/devices/system/cpu/possible",
        "/sys/devices/system/cpu/cpu0/topology/core_id",
        "/sys/devices/system/cpu/cpu0/cache/index0/size",
        "/sys/devices/system/node/online",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    )


def check_files_of_etc_that_exist_can_be_read():
    folder = "/etc/"
    names = "os-release machine-id resolv.conf hosts hostname passwd group mime.types localtime timezone nsswitch.conf"
    names += " services protocols shells locale.alias ld.so.cache ld.so.conf profile bash.bashrc inputrc debian_version"
    names += " lsb-release gai.conf host.conf networks ssl/openssl.cnf ssl/certs/ca-certificates.crt fonts/fonts.conf"
    existing_files_can_be_read(*(folder + name for name in names.split()))


def check_mimetypes():
    assert mimetypes.guess_type("a.mp4")[0] == "video/mp4"
    assert mimetypes.guess_type("a.csv")[0] == "text/csv"


def check_locale():
    locale.setlocale(locale.LC_ALL, "")
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    assert locale.getpreferredencoding(False).upper().replace("-", "") == "UTF8"


def check_time_zones():
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    assert datetime.datetime(2020, 3, 31, tzinfo=zone).utcoffset() == datetime.timedelta(hours=2)
    assert time.localtime().tm_year > 2000
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    assert time.tzname[0] == "EST"


def check_user():
    assert getpass.getuser()
    assert pwd.getpwuid(os.getuid()).pw_dir
    assert grp.getgrgid(os.getgid()).gr_name
    os.getgroups()


def check_home():
    home = Path.home()
    assert home.is_dir()
    (home / ".config").mkdir(parents=True, exist_ok=True)
    (home / ".config" / "settings").write_text("x")
    assert os.path.expanduser("~") == str(home)


def check_home_caches():
    cache = Path.home() / ".cache" / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "weights.pth").write_bytes(b"x")


def check_platform():
    assert platform.system() == "Linux"
    assert platform.platform()
    assert platform.machine()
    platform.freedesktop_os_release()


def check_hostname():
    assert socket.gethostname()
    assert platform.node()
    assert os.uname().nodename


def check_uuid():
    assert uuid.uuid1() != uuid.uuid4()
    assert uuid.getnode()


def check_random():
    assert len(secrets.token_bytes(8)) == 8
    assert os.getrandom(8)
    random.seed()


def check_resource_limits():
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))


def check_nice():
    assert os.nice(1) >= 1
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))


def check_signal_handlers():
    received = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: received.append(number))
        os.kill(os.getpid(), number)
    signal.signal(signal.SIGALRM, lambda number, frame: received.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.pause()
    assert len(received) == 4


def check_signal_default_action_in_a_thread():
    signal.pthread_kill(__import__("threading").get_ident(), 0)


def check_ctypes():
    assert ctypes.CDLL(None).getpid() == os.getpid()
    assert ctypes.util.find_library("c")


def check_paths_of_python():
    assert Path(sys.executable).exists()
    assert Path(sysconfig.get_path("stdlib")).is_dir()
    assert shutil.which("python3") or shutil.which("python")
    assert shutil.which("sh")


def check_sched_setaffinity():
    os.sched_setaffinity(0, range(os.cpu_count()))


def check_environment_of_a_kaggle_rerun():
    assert os.environ["KAGGLE_IS_COMPETITION_RERUN"] == "1"
    assert os.environ["HOME"]
    assert os.environ["PATH"]


def check_standard_input_is_empty():
    assert sys.stdin.read() == ""


run_checks(globals())
