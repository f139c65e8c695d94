"""Workers of a Dask cluster, through its own client."""

import secrets
import time
from pathlib import Path
from typing import Any, Self

from dfdc_kit.competition.engines import EngineOptions, decode_outcome, judge_in_child
from dfdc_kit.competition.engines.local import WAIT_S, worker_count
from dfdc_kit.competition.judge import TaskOutcome
from dfdc_kit.competition.plan import Plan
from dfdc_kit.errors import SandboxError

CONNECT_S = 20.0
NO_WORKER_S = 60.0  # without any worker: those of a cluster of our own do not come back
NO_WORKER = "no Dask worker is connected"


class DaskEngine:
    """Judges on the scheduler at `--dask-address`, or on a cluster of this machine that ends with this command."""

    def __init__(self, judging: Path, plan: Plan, options: EngineOptions) -> None:
        self._judging, self._options = judging, options
        self._workers = 0 if options.dask_address else worker_count(plan.profile.limits, options)
        self._cluster: Any = None
        self._client: Any = None
        self._futures: dict[str, Any] = {}
        self._last_worker_at = time.monotonic()

    def __enter__(self) -> Self:
        try:
            import distributed
        except ImportError as error:
            raise SandboxError(
                "Dask is not installed here.", hint="Install it:", command="pip install 'dask[distributed]'"
            ) from error
        dask: Any = distributed  # without types
        address: Any = self._options.dask_address
        if not address:
            self._cluster = address = dask.LocalCluster(
                n_workers=self._workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
            )
        try:
            self._client = dask.Client(address, timeout=CONNECT_S)
        except (OSError, TimeoutError, ValueError) as error:
            raise SandboxError(
                f"No Dask scheduler answers at {address}: {error}", hint="Expected: --dask-address tcp://HOST:8786"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    @property
    def address(self) -> str:
        """The address of the scheduler."""
        return str(self._client.scheduler.address)

    def submit(self, tasks: list[str]) -> None:
        """Submit these tasks to the scheduler."""
        for task in tasks:
            self._futures[task] = self._client.submit(
                judge_in_child,
                str(self._judging),
                task,
                "dask",
                key=f"judge-{task}-{secrets.token_hex(4)}",  # a repeated task is a new one to Dask
                pure=False,
            )

    def ended(self) -> list[TaskOutcome]:
        """The tasks that have ended since the last call. Raises SandboxError if scheduler or workers have gone."""
        if self._client.status != "running":
            raise SandboxError(
                "The Dask scheduler has gone.", hint="Start it again; the same command then judges what is left."
            )
        done = [task for task, future in self._futures.items() if future.done()]
        if not done:
            self._check_workers()
            time.sleep(WAIT_S)
        return [self._outcome(task, self._futures.pop(task)) for task in done]

    def queued(self) -> dict[str, str]:
        """That there is no worker, for each task, where that is so; Dask gives no other reasons."""
        return {} if self._has_workers() else dict.fromkeys(self._futures, NO_WORKER)

    def _has_workers(self) -> bool:
        return bool(self._client.scheduler_info()["workers"])

    def _check_workers(self) -> None:
        """Raise SandboxError where a cluster of our own has had no worker for NO_WORKER_S."""
        if self._has_workers():
            self._last_worker_at = time.monotonic()
        elif self._cluster is not None and time.monotonic() - self._last_worker_at > NO_WORKER_S:
            raise SandboxError(
                "All Dask workers have ended; the messages above say why.",
                hint="The same command then judges what is left.",
            )

    def _outcome(self, task: str, future: Any) -> TaskOutcome:
        if future.status == "finished":
            return decode_outcome(task, future.result(), "The worker's process ended without an answer.")
        reason = repr(future.exception()) if future.status == "error" else future.status
        return TaskOutcome(task=task, kind="died", message=f"Dask: {reason}")
