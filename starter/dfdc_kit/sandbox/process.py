"""The process backend: a child in a session of its own, watched and cleaned up. It is NO security boundary.

It keeps time, memory and output within their limits and leaves no process behind, on any Linux, without privileges.
It hides neither files nor the network from the submission: each run's report says so, limit by limit.
"""

import sys
from collections.abc import Callable, Iterator

from dfdc_kit.profiles import Limits
from dfdc_kit.sandbox.base import Enforcement, Job, Outcome
from dfdc_kit.sandbox.supervise import supervise, supervised


class ProcessBackend:
    """Runs a job as an ordinary process tree, below a supervisor that outlives every descendant."""

    name = "process"

    def unavailable(self) -> str:
        """Why it cannot work here; empty if it can."""
        return "" if sys.platform.startswith("linux") else "it needs Linux"

    def enforcement(self, limits: Limits) -> list[Enforcement]:
        """What becomes of each limit on this machine."""
        return list(_enforcement(limits))

    def run(self, job: Job, limits: Limits, on_output: Callable[[bytes], None]) -> Outcome:
        """Run the job to its end. Ctrl-C ends the job, not the caller: the outcome then says `interrupted`."""
        environment = {name: str(value) for name, value in job.environment.items()}
        return supervise(job, [str(part) for part in job.command], environment, limits, on_output)


def _enforcement(limits: Limits) -> Iterator[Enforcement]:
    yield from supervised(limits)
    yield Enforcement(limit="processes", status="enforced", how="subreaper; every descendant is killed at the end")
    if not limits.network:
        yield Enforcement(limit="network", status="NOT ENFORCED HERE", how="this backend shares the machine's network")
    how = "a copy without write permission, compared after the run; an owner or root could restore it"
    yield Enforcement(limit="read_only_input", status="watched", how=how)
    how = "this backend shares the machine's files: a program that looks can read labels, home and credentials"
    yield Enforcement(limit="hidden_files", status="NOT ENFORCED HERE", how=how)
