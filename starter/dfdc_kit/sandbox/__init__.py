"""Sandboxes: run somebody else's program under limits, and leave nothing of it behind."""

from dfdc_kit.errors import SandboxFault, UsageFault
from dfdc_kit.sandbox.base import SandboxBackend
from dfdc_kit.sandbox.bubblewrap import BubblewrapBackend
from dfdc_kit.sandbox.process import ProcessBackend

# Best first.
BACKENDS: dict[str, SandboxBackend] = {"bubblewrap": BubblewrapBackend(), "process": ProcessBackend()}


def choose(name: str = "") -> SandboxBackend:
    """The backend `name`, or the best that works on this machine. Raises UsageFault or SandboxFault."""
    if name and name not in BACKENDS:
        raise UsageFault(f"There is no sandbox backend {name!r}.", hint=f"Backends: {', '.join(BACKENDS)}")
    reasons = {}
    for candidate in [BACKENDS[name]] if name else BACKENDS.values():
        reasons[candidate.name] = candidate.unavailable()
        if not reasons[candidate.name]:
            return candidate
    why = "; ".join(f"{backend}: {reason}" for backend, reason in reasons.items())
    raise SandboxFault(f"No sandbox backend works here ({why}).", hint="See: dfdc doctor")
