"""Memory, processes and folders of a job are measured from outside and held to their limits."""

import os
import subprocess
import sys
import time

import pytest

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import Ending
from dfdc_kit.sandbox.monitor import watchdog
from dfdc_kit.sandbox.monitor.process_tree import descendants
from dfdc_kit.sandbox.monitor.watchdog import Watchdog, folder_bytes

MIB = 1 << 20


def test_memory_limit_stops_one_large_process(run_source):
    outcome, _ = run_source(f"x = bytearray({400 * MIB})\nimport time; time.sleep(30)", memory_bytes=200 * MIB)
    assert outcome.ending is Ending.MEMORY
    assert outcome.usage.peak_memory_bytes > 200 * MIB


def test_memory_limit_counts_a_peak_between_two_samples(run_source, monkeypatch):
    monkeypatch.setattr(Watchdog, "exceeded", lambda self: None)
    outcome, _ = run_source(f"x = bytearray({400 * MIB})", memory_bytes=200 * MIB)
    assert outcome.ending is Ending.MEMORY
    assert outcome.exit_code == 0


def test_memory_limit_ignores_pages_mapped_from_a_file(run_source):
    """The kernel takes such pages back when it needs them; what counts is what it cannot have back."""
    source = f"""import mmap, time
with open("big", "wb") as f: f.truncate({300 * MIB})
m = mmap.mmap(open("big", "rb").fileno(), 0, prot=mmap.PROT_READ)
print(sum(m[at] for at in range(0, len(m), 4096)))
time.sleep(1.5)"""
    outcome, _ = run_source(source, memory_bytes=150 * MIB, output_bytes=1 << 30)
    assert outcome.ending is Ending.EXIT
    assert outcome.usage.peak_memory_bytes < 100 * MIB


def test_memory_limit_counts_shared_pages_of_many_processes_once(run_source):
    source = (
        f"import os, time\nx = bytearray({40 * MIB})\nfor _ in range(40):\n if not os.fork(): break\ntime.sleep(1.5)"
    )
    outcome, _ = run_source(source, memory_bytes=500 * MIB)
    assert outcome.ending is Ending.EXIT


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_limits_count_mapped_files_without_a_name(run_source, kind):
    if os.geteuid():
        pytest.skip("the kernel shows it to root only")
    made = "os.memfd_create('x')" if kind == "memory" else "os.open('x', os.O_RDWR | os.O_CREAT)"
    source = f"""import mmap, os, time
f = {made}
for _ in range(100): os.write(f, bytes(1 << 20))
m = mmap.mmap(f, 0)
if {kind == "disk"}: os.remove('x')
os.closerange(3, 64)
time.sleep(20)"""
    outcome, _ = run_source(source, memory_bytes=80 * MIB, scratch_bytes=80 * MIB, output_bytes=8 << 30)
    assert outcome.ending is (Ending.MEMORY if kind == "memory" else Ending.SCRATCH)


def test_memory_limit_counts_the_whole_process_tree(run_source):
    """Three children below the limit, together above it: a limit per process would let them pass."""
    source = f"import os, time\nfor _ in range(2): os.fork()\nx = bytearray({80 * MIB})\ntime.sleep(30)"
    outcome, _ = run_source(source, memory_bytes=200 * MIB)
    assert outcome.ending is Ending.MEMORY
    assert outcome.usage.peak_processes >= 3


def test_peak_memory_counts_shared_pages_of_forked_children_once(run_source):
    """Four processes that share 150 MiB: 600 MiB resident, 150 in truth."""
    source = f"import os, time\nx = bytearray({150 * MIB})\nfor _ in range(2): os.fork()\ntime.sleep(1.5)"
    outcome, _ = run_source(source, memory_bytes=400 * MIB)
    assert outcome.ending is Ending.EXIT
    assert 150 * MIB <= outcome.usage.peak_memory_bytes < 400 * MIB


HOLDS = {  # ways to hold 100 MiB that neither a folder nor a process's own size shows
    "memfd": ("f = os.memfd_create('x')\nfor _ in range(100): os.write(f, bytes(1 << 20))", Ending.MEMORY),
    "shm": ("x = bytearray(50 << 20)\nopen('/dev/shm/x', 'wb').write(bytes(50 << 20))", Ending.MEMORY),
    "removed": (
        "f = open('x', 'wb', 0)\nos.remove('x')\nfor _ in range(100): f.write(bytes(1 << 20))",
        Ending.SCRATCH,
    ),
}


@pytest.mark.parametrize("kind", HOLDS)
def test_limits_count_memory_and_files_without_a_name(run_source, kind):
    source, ending = HOLDS[kind]
    source = f"import os, time\n{source}\ntime.sleep(20)"
    outcome, _ = run_source(source, memory_bytes=80 * MIB, scratch_bytes=80 * MIB, output_bytes=8 << 30)
    assert outcome.ending is ending


@pytest.mark.parametrize("make", ["os.memfd_create('x')", "os.open('/dev/shm/x', os.O_RDWR | os.O_CREAT)"])
def test_peak_memory_counts_mapped_shared_memory_once(run_source, make):
    source = f"""import mmap, os, time
f = {make}
os.ftruncate(f, {100 * MIB})
m = mmap.mmap(f, {100 * MIB})
for at in range(0, len(m), 4096): m[at] = 1
if os.fork(): time.sleep(1.5)
else: time.sleep(1.2)"""
    outcome, _ = run_source(source, memory_bytes=180 * MIB)
    assert outcome.ending is Ending.EXIT
    assert 100 * MIB <= outcome.usage.peak_memory_bytes < 150 * MIB


def test_output_limit_stops_one_large_file(run_source):
    source = "f = open('x', 'wb')\nwhile True: f.write(b'x' * (1 << 20))"
    outcome, _ = run_source(source, output_bytes=8 * MIB)
    assert outcome.ending is Ending.OUTPUT
    assert outcome.usage.output_bytes <= 10 * MIB


def test_output_limit_counts_what_is_written_just_before_the_end(run_source):
    """The folder is looked at once a second; who writes too much and ends at once is over the limit all the same."""
    source = "import time\ntime.sleep(1.2)\nfor i in range(6): open(str(i), 'wb').write(b'x' * (2 << 20))"
    outcome, _ = run_source(source, output_bytes=8 * MIB)
    assert outcome.ending is Ending.OUTPUT


def test_output_limit_stops_many_small_files(run_source):
    source = "import time\nfor i in range(64):\n open(str(i), 'wb').write(b'x' * (1 << 20))\ntime.sleep(30)"
    outcome, _ = run_source(source, output_bytes=32 * MIB)
    assert outcome.ending is Ending.OUTPUT


def test_process_limit_stops_too_many_children(run_source):
    source = "import os, time\nfor _ in range(20):\n if os.fork() == 0: time.sleep(30); os._exit(0)\ntime.sleep(30)"
    outcome, _ = run_source(source, processes=10)
    assert outcome.ending is Ending.PROCESSES
    assert outcome.usage.peak_processes > 10


def test_scratch_limit_stops_too_many_temporary_files(run_source):
    source = "import os, time\nd = os.environ['MARK'] + '/tmp' if os.path.isdir(os.environ['MARK']) else '/tmp'\n"
    source += "for i in range(20): open(f'{d}/{i}', 'wb').write(b'x' * (1 << 20))\ntime.sleep(30)"
    assert run_source(source, scratch_bytes=10 * MIB)[0].ending is Ending.SCRATCH


def test_folder_bytes_ignores_holes_of_sparse_files(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10 << 30)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert folder_bytes(tmp_path) < MIB


@pytest.mark.permissions
@pytest.mark.parametrize("mode", [0, 0o300, 0o600])
def test_folder_bytes_counts_a_folder_without_permissions(tmp_path, mode):
    (tmp_path / "closed" / "below").mkdir(parents=True)
    (tmp_path / "closed" / "below" / "file").write_bytes(bytes(MIB))
    (tmp_path / "closed").chmod(mode)
    try:
        assert MIB <= folder_bytes(tmp_path) < 2 * MIB
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_descendants_finds_a_child_while_it_lives():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = {seen.pid: seen for seen in descendants(os.getpid())}
        assert found[child.pid].threads >= 1
        child.communicate()
    assert child.pid not in {seen.pid for seen in descendants(os.getpid())}


def test_descendants_finds_a_child_with_a_misleading_name():
    source = "import ctypes; ctypes.CDLL(None).prctl(15, b') S 1 1 (', 0, 0, 0); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in {seen.pid for seen in descendants(os.getpid())}
        child.communicate(b"\n")


def test_memory_of_several_processes_is_sampled_between_exact_measurements(tmp_path, monkeypatch):
    """Without exact measurements, which are rarer and rarer here; 64 MiB shared by three processes count once."""
    monkeypatch.setattr(watchdog, "SLOW_SAMPLE_S", 1e9)  # after 20 s there were 8
    source = f"import os\nx = b'x' * {64 * MIB}\nfor _ in range(2): os.fork()\nprint(1, flush=True)\ninput()"
    below_a_shell = ["sh", "-c", '"$0" -c "$1"; exit', sys.executable, source]  # other tests may have left processes
    with subprocess.Popen(below_a_shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        for _ in range(4):
            child.stdout.readline()
        watching = Watchdog(lambda: child.pid, tmp_path, tmp_path, Limits())
        deadline = time.monotonic() + 20
        while len(watching.memory_samples) < 12 and time.monotonic() < deadline:
            watching.exceeded()
            time.sleep(0.02)
        child.communicate(b"\n" * 4)
    sizes = [size for _, size in watching.memory_samples]
    assert len(sizes) >= 12
    assert 64 * MIB < min(sizes) <= max(sizes) < 120 * MIB
