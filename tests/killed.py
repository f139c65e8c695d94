"""Kills downloads at random moments, for `test_download_killed.py`; forks one child for each kill.

Forking after the imports is what makes a hundred kills take seconds. A child that is done before it is killed is
compared with what is right, and does not count. Arguments: mode, folder, right folder, kills, seed, longest seconds.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from dfdc_kit.files import lock_folder
from dfdc_kit.kaggle.client import connect
from dfdc_kit.kaggle.download.fetch import FetchRequest, Transport, fetch
from dfdc_kit.kaggle.download.sample import download_sample, file_link, plan_sample

SLUG = "deepfake-detection-challenge"


class NoProgress:
    """A TransferProgress that ignores its calls."""

    started = advanced = ended = info = lambda *_: None


def main() -> None:
    mode, folder, right = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    kills, seed, longest_s = int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6])
    kaggle = connect()
    transport = Transport(progress=NoProgress())

    def one_file() -> None:
        with lock_folder(folder, print):
            link = lambda: file_link(kaggle, SLUG, "a.bin")  # noqa: E731
            fetch(FetchRequest(name="a.bin", path=folder / "a.bin", link=link), transport)

    def everything() -> None:
        with lock_folder(folder, print):
            plan = plan_sample(kaggle, SLUG, folder, [], NoProgress())
            download_sample(kaggle, plan, transport, jobs=2, keep_zip=False)

    work = {"file": one_file, "everything": everything}[mode]
    chance = random.Random(seed)
    part = folder / ".a.bin.part"
    if mode == "file":  # once when some bytes have arrived, however slow the machine is
        kills -= killed(work, 0, lambda: part.exists() and part.stat().st_size > 0)
    while kills:
        if killed(work, chance.uniform(0, longest_s)):
            kills -= 1
        else:
            compare(folder, right)
            shutil.rmtree(folder)


def compare(folder: Path, right: Path) -> None:
    """Every file of `right` is in `folder`, byte for byte, and no partial file beside them."""
    wanted = {path.relative_to(right): path.read_bytes() for path in right.rglob("*") if path.is_file()}
    there = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    there = {name: content for name, content in there.items() if name.parts[0] != ".dfdc"}
    assert there == wanted, sorted(map(str, there.keys() ^ wanted.keys()))


def killed(work, after_s: float, is_ready=lambda: True) -> bool:
    """Do `work` in a child and kill it, `after_s` after it is ready; whether the kill came first."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # the child of a fork must not return
            import traceback

            traceback.print_exc()
            os._exit(1)
    while not is_ready() and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.001)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        sys.exit("a download failed by itself")
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    main()
