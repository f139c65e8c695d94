"""Extract the faces of many videos, once:  python training/extract.py VIDEOS... --out FACES

VIDEOS are folders of mp4 files, or single files; labels come from the metadata.json next to them, if there is one. The
work runs on all cores, or on a Dask cluster whose machines see the same files under the same paths (--dask
tcp://SCHEDULER:8786). It can be stopped at any time, by Ctrl-C or a kill: the same command resumes, and no finished
video is read again.
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

import common
import shards
from common import InputError, at_least, folder_lock
from crops import FRAMES, MARGIN, SIDE
from frames import cpu_count
from joblib import Parallel, delayed, parallel_config
from tasks import Task, extract_faces

SUBMITTED = 2000  # tasks given to a cluster before the first result
PROGRESS_S = 5.0  # seconds between two lines of progress
SUFFIX = ".mp4"


# ------------------------------------------------------------------------------------------------------- what to do


def list_tasks(sources: list[Path], faces: Path, *, fast: bool = False) -> list[Task]:
    """One task per video, sorted by name; label and original from metadata.json. Raises InputError."""
    found: dict[str, Task] = {}
    for source in sources:
        if not source.exists():
            raise InputError(f"File or folder not found: {source}. Give folders of {SUFFIX} files, or files.")
        paths = sorted(source.iterdir()) if source.is_dir() else [source]
        metadata = read_metadata(source if source.is_dir() else source.parent)
        for path in (path for path in paths if path.suffix.lower() == SUFFIX):
            if path.name in found and found[path.name].path != path.absolute():
                raise InputError(f"Two videos have the same name: {found[path.name].path} and {path}. Leave one out.")
            entry = metadata.get(path.name, {})
            label = {"FAKE": 1, "REAL": 0}.get(entry.get("label", ""))
            found[path.name] = Task(path.absolute(), faces.absolute(), label, entry.get("original"), fast)
    if not found:
        raise InputError(f"No {SUFFIX} file in {', '.join(map(str, sources))}.")
    return [found[name] for name in sorted(found)]


def read_metadata(folder: Path) -> dict[str, dict]:
    """metadata.json of a folder of videos; empty if there is none. Raises InputError."""
    path = folder / "metadata.json"
    if not path.is_file():
        return {}
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}. Download it again.") from error
    if not isinstance(metadata, dict) or not all(isinstance(entry, dict) for entry in metadata.values()):
        raise InputError(f"{path}: expected {{filename: {{label, split, original}}}}. Download it again.")
    return metadata


def check_settings(faces: Path, *, fast: bool = False) -> None:
    """Write settings.json, or compare with it: all crops of a folder are made alike. Raises InputError."""
    path = faces / shards.SETTINGS
    now = {"frames": FRAMES, "side": SIDE, "margin": MARGIN, "fast": fast, "schema": shards.SCHEMA.names}
    if not path.exists():
        part = path.with_name(".settings.json.part")
        part.write_text(json.dumps(now) + "\n", encoding="utf-8")
        part.replace(path)
    elif (before := shards.read_settings(faces)) != now:
        raise InputError(f"{faces} was made with {before}, this command uses {now}. Choose another --out.")


# --------------------------------------------------------------------------------------------------------- doing it


def run_tasks(tasks: list[Task], jobs: int, dask: str) -> Iterator[str]:
    """Run every task, in any order; yields for each the reason why there is no crop, or an empty string."""
    if dask:
        yield from run_on_dask(tasks, dask)
        return
    with parallel_config("loky", n_jobs=jobs):
        yield from Parallel(return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1)(
            delayed(extract_faces)(task) for task in tasks
        )


def run_on_dask(tasks: list[Task], address: str) -> Iterator[str]:
    """As `run_tasks`, on the Dask cluster at `address`. Raises InputError if it does not answer or goes away.

    When a worker dies, Dask tries its task on others, four times in all.
    """
    from dask.distributed import Client, KilledWorker, as_completed

    for name in ("distributed", "distributed.client", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are reported here
    try:
        client = Client(address, timeout="20s")
    except (OSError, ValueError) as error:
        raise InputError(f"No Dask scheduler answers at {address}: {error}. Start one: dask scheduler") from error
    folder = str(common.SUBMISSION / "training")
    module, name = extract_faces.__module__, extract_faces.__name__

    def on_worker(fields: dict[str, Any]) -> str:  # pickled by value: the scheduler need not know our modules
        if folder not in sys.path:
            sys.path.insert(0, folder)
        task = import_module("tasks").Task(**fields)
        return str(getattr(import_module(module), name)(task))

    remaining = iter(tasks)

    def submit(count: int) -> dict[Any, Task]:
        return {client.submit(on_worker, asdict(task), pure=False): task for task in islice(remaining, count)}

    with client:
        submitted = submit(SUBMITTED)
        finished = as_completed(submitted)
        for future in finished:
            task = submitted.pop(future)
            try:
                yield future.result()
            except KilledWorker:
                yield record_dead_worker(task)
            except CancelledError as error:
                raise InputError(f"The Dask scheduler at {address} went away; the same command resumes.") from error
            following = submit(1)
            submitted |= following
            finished.update(following)


def record_dead_worker(task: Task) -> str:
    """Record that workers die of a video; returns the reason code."""
    reason = "worker-died"
    shards.write_table(shards.video_file(task.faces, task.path.name), shards.table_of([task.row(reason=reason)]))
    return reason


def run_isolated(task: Task) -> str:
    """Run one task in a process of its own, which may die; the reason why there is no crop, or an empty string."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(extract_faces, task).result()
        except BrokenProcessPool:
            return record_dead_worker(task)


def extract(tasks: list[Task], faces: Path, jobs: int, dask: str) -> None:
    """Run all tasks and shard their results; when a worker dies, no finished video is lost."""
    progress = Progress(len(tasks))
    while tasks:
        try:
            for reason in run_tasks(tasks, jobs, dask):
                progress.step(reason)
                if progress.done % shards.VIDEOS_PER_SHARD == 0:
                    shards.write_shards(faces, at_least=shards.VIDEOS_PER_SHARD)
            break
        except BrokenProcessPool as error:  # one of the started videos may be the cause: run each of them in isolation
            done = shards.prepare(faces)
            tasks = [task for task in tasks if task.path.name not in done]
            started = shards.started(faces)
            suspects = [task for task in tasks if task.path.name in started]
            print(f"a worker died ({type(error).__name__}); trying {len(suspects)} videos one by one", flush=True)
            progress.done = progress.total - len(tasks)
            for task in suspects:
                progress.step(run_isolated(task))
            tasks = [task for task in tasks if task not in suspects]
    shards.write_shards(faces, at_least=1)
    shards.write_index(faces)


class Progress:
    """Prints the number of videos, the rate and the remaining time every PROGRESS_S seconds."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.without_face = total, 0, 0
        self.started = self.printed = time.monotonic()

    def step(self, reason: str) -> None:
        """Count one video; `reason` says why it gave no crop, if it gave none."""
        self.done += 1
        self.without_face += bool(reason)
        now = time.monotonic()
        if now - self.printed >= PROGRESS_S or self.done == self.total:
            self.printed = now
            rate = self.done / (now - self.started)
            left = int((self.total - self.done) / rate)
            clock = f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
            print(
                f"{self.done}/{self.total} videos, {rate:.2f} per second, {clock} left, "
                f"{self.without_face} without a face",
                flush=True,
            )


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 done, 2 wrong usage, 4 not written, 130 stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+", help=f"folders of {SUFFIX} files, or files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the faces; about 0.25 MB per video")
    parser.add_argument("--jobs", type=at_least(1), default=cpu_count(), help="processes (default: one per core)")
    parser.add_argument("--dask", default="", metavar="ADDRESS", help="use this Dask cluster instead")
    parser.add_argument(
        "--fast", action="store_true", help="read only the first third of each video, in training and prediction"
    )
    args = parser.parse_args(argv)
    try:
        tasks = list_tasks(args.videos, args.out, fast=args.fast)
        with folder_lock(args.out):
            done = shards.prepare(args.out)
            check_settings(args.out, fast=args.fast)
            remaining = [task for task in tasks if task.path.name not in done]
            print(f"{len(tasks)} videos, {len(tasks) - len(remaining)} already done", flush=True)
            extract(remaining, args.out, args.jobs, args.dask)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{args.out}: {error}. Free some space, or choose another --out.", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes", file=sys.stderr)
        return 130
    print(f"faces of {len(tasks)} videos in {args.out}; next: python training/train.py {args.out}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
