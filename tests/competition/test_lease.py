"""A lease is held by one process at a time; nobody's clock decides whether it is alive."""

import os
import subprocess
import sys

import msgspec
import pytest

from dfdc_kit.competition.lease import SIZE, Holder, LeaseWatch

ELSEWHERE = Holder(token="t", machine="node-7", boot="another", process=1)
HOLD = """
import sys, time
from pathlib import Path
from dfdc_kit.competition.lease import LeaseWatch
lease = LeaseWatch().acquire(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def write(path, holder: Holder) -> None:
    path.write_bytes(msgspec.json.encode(holder).ljust(SIZE))


def test_lease_is_refused_while_it_is_held_and_free_afterwards(tmp_path):
    path = tmp_path / "leases" / "a.lease"
    with LeaseWatch().acquire(path):
        assert LeaseWatch().acquire(path) is None
        assert LeaseWatch().holder(path).process == os.getpid()
    assert not path.exists()
    assert LeaseWatch().holder(path) is None
    with LeaseWatch().acquire(path) as again:
        assert again.is_ours()


def test_lease_of_a_killed_process_is_free_at_once(tmp_path):
    path = tmp_path / "a.lease"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        watch = LeaseWatch(stale_s=0)
        assert [watch.acquire(path) for _ in range(3)] == [None] * 3  # alive, however long its counter stands still
        holder.kill()
    assert LeaseWatch().holder(path) is None
    with LeaseWatch().acquire(path, beat_s=0.01):
        pass


@pytest.mark.parametrize("seconds", [-(10**9), 0, 10**9])
def test_lease_elsewhere_is_held_whatever_time_its_file_shows(tmp_path, seconds):
    path, watch = tmp_path / "a.lease", LeaseWatch(stale_s=3600)
    write(path, ELSEWHERE)
    os.utime(path, (1.7e9 + seconds, 1.7e9 + seconds))
    assert watch.acquire(path) is None
    assert watch.holder(path) == ELSEWHERE


def test_lease_elsewhere_is_free_only_when_its_counter_stands_still(tmp_path):
    path, watch = tmp_path / "a.lease", LeaseWatch(stale_s=0)
    for beat in range(3):
        write(path, msgspec.structs.replace(ELSEWHERE, beat=beat))
        assert watch.holder(path) is not None  # it has moved since the last look
    assert watch.holder(path) is None
    with watch.acquire(path, beat_s=0.01) as lease:
        assert lease.is_ours()


def test_lease_that_was_taken_over_is_not_removed_by_its_first_holder(tmp_path):
    path = tmp_path / "a.lease"
    with LeaseWatch().acquire(path) as lease:
        write(path, ELSEWHERE)
        assert not lease.is_ours()
    assert path.exists()


def test_heartbeat_moves_the_counter(tmp_path):
    path = tmp_path / "a.lease"
    with LeaseWatch().acquire(path, beat_s=0.01):
        watch, seen = LeaseWatch(), set()
        while len(seen) < 3:
            seen.add(watch.holder(path).beat)


def test_unreadable_lease_is_held_until_it_is_stale(tmp_path):
    path = tmp_path / "a.lease"
    path.write_bytes(b"")  # its holder elsewhere is about to write
    assert LeaseWatch().acquire(path) is None
    watch = LeaseWatch(stale_s=0)
    assert watch.acquire(path) is None
    with watch.acquire(path) as lease:
        assert lease.is_ours()
