"""Several transfers at once, in threads that do not outlive the command."""

import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")
JOIN_S = 2.0  # what a thread is given to notice that the work has ended


def run_all(work: Callable[[Task], Answer], tasks: Iterable[Task], jobs: int, stop: threading.Event) -> list[Answer]:
    """`work` of each task, at most `jobs` at once; the answers in the order of the tasks.

    The first exception, or Ctrl-C, sets `stop` and is raised. Threads are daemons: one that still waits for a silent
    server does not hold the process, and it writes nothing more, as it looks at `stop` before every write.
    """
    waiting: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, Answer | None, BaseException | None]] = queue.SimpleQueue()
    count = 0
    for count, task in enumerate(tasks, 1):
        waiting.put((count - 1, task))

    def labour() -> None:
        while not stop.is_set():
            try:
                number, task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((number, work(task), None))
            except BaseException as error:  # noqa: BLE001  # handed to the thread that waits for it
                ended.put((number, None, error))
                stop.set()

    threads = [threading.Thread(target=labour, daemon=True) for _ in range(min(jobs, count))]
    answers: dict[int, Answer] = {}
    try:
        for thread in threads:
            thread.start()
        while len(answers) < count:
            number, answer, error = ended.get()
            if error is not None:
                raise error
            answers[number] = answer  # type: ignore[assignment]
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join(JOIN_S)
        raise
    return [answers[number] for number in range(count)]
