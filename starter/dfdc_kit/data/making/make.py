"""A made challenge of any size: planned, rendered by several workers, written in the official layout."""

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.inspection import cores
from dfdc_kit.errors import DataMissingError, KitError, OutputError, UsageError, suggest
from dfdc_kit.files import OURS, check_free_space, hold_lock, write_json
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.data.making.clips import Pair

MEASURED_BYTES = {"640": 200_000, "1080p": 6_000_000}  # of a clip with its tables, with some to spare
WORKER_BYTES = {"640": 500 << 20, "1080p": 900 << 20}  # memory of a worker, measured, with some to spare
PLAN = Path(OURS) / "make.json"
MOST_DEATHS = 3  # of workers in a row, without a clip in between
FEWEST_PEOPLE = 6  # two for each of train, Public and Private: a swap needs a donor
Progress = Callable[[int, int], None]


class MakeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to make. `train` and `test` are numbers of clips; the rest decides what is in each clip."""

    train: int
    test: int
    seed: int = 0
    size: str = "640"
    people: int = 0  # how many invented people take part; 0: all


class MakeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `dfdc data make` made."""

    folder: str
    train: int
    test: int
    fake: int
    people: dict[str, int]  # part -> number of people; parts share none
    made: int  # clips rendered by this call; the others were there
    bytes: int
    seconds: float


def make_challenge(
    out: Path,
    options: MakeOptions,
    challenge: Challenge,
    progress: Progress,
    warn: Callable[[str], None],
    *,
    workers: int = 0,
    dask: str = "",
) -> MakeReport:
    """Make the challenge `options` in `out`; clips that are there already are kept.

    `workers` processes (0: one per core), or those of the Dask scheduler at the address `dask`, which must see the
    same folder. Raises UsageError, DataMissingError (a package is missing), OutputError.
    """
    _check(options)
    if workers < 0:
        raise UsageError(f"--workers {workers}: expected at least 1.", hint="For example: --workers 2")
    started = time.monotonic()
    with hold_lock(out / OURS / "lock", f"Another `dfdc data make` into {out} is running", "--out", warn):
        _check_plan(out, options)
        from dfdc_kit.data.making.layout import Layout, plan_pairs, split_people, write_tables

        people = split_people(options)
        layout = Layout(out.absolute(), challenge)
        pairs = plan_pairs(options, people)
        layout.prepare()
        tasks = [(pair, *layout.paths(pair, with_fake)) for pair, with_fake in pairs]
        total = sum(2 if fake else 1 for _, _, fake in tasks)
        missing = [task for task in tasks if not all(path.exists() for path in task[1:] if path)]
        left = sum(not path.exists() for task in missing for path in task[1:] if path)
        check_free_space(out, left * MEASURED_BYTES[options.size], "--out")
        progress(total - left, total)
        done = total - left
        count = workers or default_workers(options.size)
        runner = _on_dask(missing, dask) if dask else run_in_processes(missing, count, run_task)
        with closing(runner):  # Ctrl-C may come in here: the pending clips are cancelled, not made before the exit
            for made in runner:
                done += made
                progress(min(done, total), total)
        size_bytes, fakes = write_tables(layout, pairs, options, people)
    return MakeReport(
        folder=str(out),
        train=options.train,
        test=options.test,
        fake=fakes,
        people={part: len(members) for part, members in people.items()},
        made=left,
        bytes=size_bytes,
        seconds=time.monotonic() - started,
    )


def default_workers(size: str) -> int:
    """One worker per core, fewer where memory is short: a worker holds the frames of one clip."""
    import psutil

    fitting = int(psutil.virtual_memory().available // WORKER_BYTES[size])
    return max(1, min(cores(), fitting))


def _check(options: MakeOptions) -> None:
    """Raise for options that cannot be made, and for missing packages."""
    if min(options.train, options.test) < 0 or options.train + options.test < 1:
        seen = f"--train {options.train} --test {options.test}"
        raise UsageError(f"Nothing to make: {seen}.", hint="Give at least one clip: --train 400 --test 400")
    if options.size not in MEASURED_BYTES:
        raise UsageError(f"Unknown size {options.size!r}.", hint=suggest(options.size, MEASURED_BYTES, label="Sizes"))
    if find_spec("cv2") is None:
        raise DataMissingError(
            "Making clips needs OpenCV, which is not installed.",
            hint="Install the extra `faces`.",
            command="pip install 'dfdc-starter-kit[faces]'",
        )
    from dfdc_kit.data.making.people import names

    if options.people and not FEWEST_PEOPLE <= options.people <= len(names()):
        raise UsageError(
            f"--people {options.people}: {FEWEST_PEOPLE} to {len(names())} are possible, "
            "two at least in each of training, Public and Private.",
            hint="Leave --people out to use all.",
        )


def _check_plan(out: Path, options: MakeOptions) -> None:
    """Write the plan into `out`. Raises UsageError if `out` holds another challenge, or other files."""
    file = out / PLAN
    if file.is_file():
        try:
            before = msgspec.json.decode(file.read_bytes(), type=MakeOptions)
        except msgspec.MsgspecError as error:
            raise UsageError(f"{file} is not readable: {error}.", hint="Choose a new folder: --out DIR") from None
        fixed = ("seed", "size", "people")
        same = all(getattr(before, name) == getattr(options, name) for name in fixed)
        if not same or options.train < before.train or options.test < before.test:
            made = " ".join(f"--{name} {getattr(before, name)}" for name in ("train", "test", *fixed))
            raise UsageError(
                f"{out} holds another made challenge: {made}.",
                hint="Repeat those options (--train and --test may grow), or choose a new folder: --out DIR",
            )
    elif any(entry.name != OURS for entry in out.iterdir()):
        raise UsageError(f"{out} is not empty.", hint="Choose a new folder: --out DIR")
    write_json(file, options)


Task = tuple["Pair", Path, Path | None]
T = TypeVar("T")


def run_task(task: Task) -> int:
    """Make one pair; the number of clips written."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the matrices are small: threads would slow this down
    from dfdc_kit.data.making.clips import make_pair

    return make_pair(*task)


def _end_with_parent() -> None:
    """In a worker: end without a traceback on Ctrl-C, and soon after the parent, even if that was killed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_in_processes(tasks: Iterable[T], workers: int, run: Callable[[T], int]) -> Generator[int, None, None]:
    """Results of `run` in the order in which they are ready. A pool whose worker died is replaced.

    Raises OutputError for an OSError of a worker, KitError if workers die MOST_DEATHS times in a row.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read by the workers when they import numpy
    left: dict[int, T] = dict(enumerate(tasks))
    deaths = 0
    while left:
        pool = ProcessPoolExecutor(
            min(workers, len(left)), mp_context=get_context("spawn"), initializer=_end_with_parent
        )
        waiting: dict[Future[int], int] = {}
        try:
            waiting.update((pool.submit(run, task), number) for number, task in left.items())
            for future in as_completed(waiting):
                result = _result(future)
                left.pop(waiting[future])
                deaths = 0
                yield result
        except BrokenProcessPool:
            deaths += 1
            if deaths >= MOST_DEATHS:
                raise KitError(
                    f"Workers died {deaths} times in a row: killed, or out of memory. "
                    f"{plural(len(left), 'pair')} of clips are missing.",
                    hint="Use fewer workers, --workers 1, and repeat the command: finished clips are kept.",
                ) from None
        finally:
            for future in waiting:  # cancel_futures of shutdown does nothing once the pool is garbage
                future.cancel()
            pool.shutdown(wait=False)


def _result(future: "Future[int]") -> int:
    try:
        return future.result()
    except OSError as error:
        raise OutputError(
            f"Cannot write a clip: {error.strerror or error}.",
            hint="Free some space, then repeat the command: finished clips are kept.",
        ) from error


def _on_dask(tasks: list[Task], address: str) -> Generator[int, None, None]:
    """Results in the order in which the workers of a Dask cluster make them."""
    if find_spec("distributed") is None:
        raise DataMissingError(
            "--dask needs the package distributed, which is not installed.", command="pip install 'dask[distributed]'"
        )
    import distributed

    cluster: Any = distributed

    try:
        client = cluster.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise UsageError(f"No Dask scheduler at {address}: {error}.", hint="Check the address.") from None
    with client:
        futures = client.map(run_task, tasks, pure=False, retries=2)
        for _, result in cluster.as_completed(futures, with_results=True):
            yield result
