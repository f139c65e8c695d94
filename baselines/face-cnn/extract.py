"""Cut the faces out of many videos, once: python extract.py VIDEOS... --out FACES

VIDEOS are folders of mp4 files, or single files; labels come from the metadata.json beside them, where there is one.
The work is spread over the processor's cores, or over a Dask cluster whose machines see the same files under the same
names (--dask tcp://SCHEDULER:8786). Stop it at any time, by Ctrl-C or otherwise: the same command goes on from there,
and no finished video is looked at again.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from importlib import import_module
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import shards
from crops import FRAMES, MARGIN, SIDE
from frames import cores
from joblib import Parallel, delayed, parallel_config
from lock import alone_in
from options import at_least
from shards import StopError
from tasks import Task, attempt

AHEAD = 2000  # tasks that a cluster is given before it has done any
EVERY_S = 5.0  # between two lines of progress
SUFFIX = ".mp4"


# ------------------------------------------------------------------------------------------------------- what to do


def tasks(sources: list[Path], faces: Path, *, fast: bool = False) -> list[Task]:
    """One task a video, sorted by name; label and original from metadata.json. Raises StopError."""
    found: dict[str, Task] = {}
    for source in sources:
        if not source.exists():
            raise StopError(f"There is no {source}. Give folders of {SUFFIX} files, or files.")
        paths = sorted(source.iterdir()) if source.is_dir() else [source]
        metadata = read_metadata(source if source.is_dir() else source.parent)
        for path in (path for path in paths if path.suffix.lower() == SUFFIX):
            if path.name in found and found[path.name].path != path.absolute():
                raise StopError(f"Two videos have one name: {found[path.name].path} and {path}. Leave one out.")
            said = metadata.get(path.name, {})
            label = {"FAKE": 1, "REAL": 0}.get(said.get("label", ""))
            found[path.name] = Task(path.absolute(), faces.absolute(), label, said.get("original"), fast)
    if not found:
        raise StopError(f"No {SUFFIX} file in {', '.join(map(str, sources))}.")
    return [found[name] for name in sorted(found)]


def read_metadata(folder: Path) -> dict[str, dict]:
    """metadata.json of a folder of videos; empty if there is none. Raises StopError."""
    path = folder / "metadata.json"
    if not path.is_file():
        return {}
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StopError(f"{path} cannot be read as JSON: {error}. Get it again.") from error
    if not isinstance(metadata, dict) or not all(isinstance(said, dict) for said in metadata.values()):
        raise StopError(f"{path}: expected {{filename: {{label, split, original}}}}. Get it again.")
    return metadata


def agree_on_settings(faces: Path, *, fast: bool = False) -> None:
    """Crops of one folder are all cut alike. Raises StopError."""
    path = faces / shards.SETTINGS
    now = {"frames": FRAMES, "side": SIDE, "margin": MARGIN, "fast": fast, "schema": shards.SCHEMA.names}
    if not path.exists():
        part = path.with_name(".settings.json.part")
        part.write_text(json.dumps(now) + "\n", encoding="utf-8")
        part.replace(path)
    elif (seen := shards.how_cut(faces)) != now:
        raise StopError(f"{faces} was cut with {seen}, this program cuts with {now}. Choose another --out.")


# --------------------------------------------------------------------------------------------------------- doing it


def results(todo: list[Task], jobs: int, dask: str) -> Iterator[str]:
    """Do every task, in any order; after each, why there is no crop, or nothing."""
    if dask:
        yield from on_cluster(todo, dask)
        return
    with parallel_config("loky", n_jobs=jobs):
        yield from Parallel(return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1)(
            delayed(attempt)(task) for task in todo
        )


def on_cluster(todo: list[Task], address: str) -> Iterator[str]:
    """The same on the Dask cluster at `address`. Raises StopError if it does not answer, or goes away.

    Dask tries a task on another worker when one dies of it, four times in all.
    """
    from dask.distributed import Client, KilledWorker, as_completed

    for name in ("distributed", "distributed.client", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said here
    try:
        client = Client(address, timeout="20s")
    except (OSError, ValueError) as error:
        raise StopError(f"No Dask scheduler answers at {address}: {error}. Start one: dask scheduler") from error
    here, module, name = str(Path(__file__).resolve().parent), attempt.__module__, attempt.__name__

    def there(fields: dict[str, Any]) -> str:  # sent as it stands: the scheduler need not know our modules
        if here not in sys.path:
            sys.path.insert(0, here)
        task = import_module("tasks").Task(**fields)
        return str(getattr(import_module(module), name)(task))

    rest = iter(todo)

    def begin(count: int) -> dict[Any, Task]:
        return {client.submit(there, asdict(task), pure=False): task for task in islice(rest, count)}

    with client:
        begun = begin(AHEAD)
        finished = as_completed(begun)
        for future in finished:
            task = begun.pop(future)
            try:
                yield future.result()
            except KilledWorker:
                yield worker_died(task)
            except CancelledError as error:
                raise StopError(f"No Dask scheduler at {address} any more; the same command goes on.") from error
            following = begin(1)
            begun |= following
            finished.update(following)


def worker_died(task: Task) -> str:
    """Note that workers die of a video; the reason why there is no crop."""
    reason = "worker-died"
    shards.replace_with(shards.loose_file(task.faces, task.path.name), shards.table_of([task.row(reason=reason)]))
    return reason


def alone(task: Task) -> str:
    """Do one task in a process of its own, which it may bring down; the reason why there is no crop, or nothing."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(attempt, task).result()
        except BrokenProcessPool:
            return worker_died(task)


def extract(todo: list[Task], faces: Path, jobs: int, dask: str) -> int:
    """Do all tasks and shard what they leave; a worker's death costs no finished video. How many gave no crop."""
    progress = Progress(len(todo))
    while todo:
        try:
            for reason in results(todo, jobs, dask):
                progress.step(reason)
                if progress.done % shards.VIDEOS_A_SHARD == 0:
                    shards.gather(faces, at_least=shards.VIDEOS_A_SHARD)
            break
        except BrokenProcessPool as error:  # one of the begun videos may be to blame: each of them by itself, then on
            done = shards.tidy(faces)
            todo = [task for task in todo if task.path.name not in done]
            begun = shards.begun(faces)
            suspects = [task for task in todo if task.path.name in begun]
            print(f"a worker died ({type(error).__name__}); trying {len(suspects)} videos one by one", flush=True)
            progress.done = progress.total - len(todo)
            for task in suspects:
                progress.step(alone(task))
            todo = [task for task in todo if task not in suspects]
    shards.gather(faces, at_least=1)
    shards.write_index(faces)
    return progress.without


class Progress:
    """A line now and then: how many, how fast, how long still."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.without = total, 0, 0
        self.started = self.said = time.monotonic()

    def step(self, reason: str) -> None:
        """One more video is done; `reason` says why it gave no crop, if it gave none."""
        self.done += 1
        self.without += bool(reason)
        now = time.monotonic()
        if now - self.said >= EVERY_S or self.done == self.total:
            self.said = now
            rate = self.done / (now - self.started)
            left = int((self.total - self.done) / rate)
            clock = f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
            print(
                f"{self.done}/{self.total} videos, {rate:.2f} a second, {clock} left, {self.without} without a face",
                flush=True,
            )


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 done, 2 wrong usage, 4 not written, 130 stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+", help=f"folders of {SUFFIX} files, or files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the faces; about 0.25 MB a video")
    parser.add_argument("--jobs", type=at_least(1), default=cores(), help="processes (default: one a core)")
    parser.add_argument("--dask", default="", metavar="ADDRESS", help="work on this Dask cluster instead")
    parser.add_argument("--fast", action="store_true", help="read the first third of each video only, here and later")
    asked = parser.parse_args(argv)
    try:
        everything = tasks(asked.videos, asked.out, fast=asked.fast)
        with alone_in(asked.out):
            done = shards.tidy(asked.out)
            agree_on_settings(asked.out, fast=asked.fast)
            todo = [task for task in everything if task.path.name not in done]
            print(f"{len(everything)} videos, {len(everything) - len(todo)} done before", flush=True)
            extract(todo, asked.out, asked.jobs, asked.dask)
    except StopError as fault:
        print(fault, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{asked.out}: {error}. Free some space, or choose another --out.", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    print(f"faces of {len(everything)} videos in {asked.out}; next: python train.py {asked.out}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
