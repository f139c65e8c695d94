"""Sandboxes: run an untrusted program under limits, and leave none of its processes or files behind."""

from collections.abc import Callable, Iterable

from dfdc_kit.errors import SandboxError, UsageError, suggest
from dfdc_kit.profiles import Limits, Profile
from dfdc_kit.sandbox.base import NOT_ENFORCED, SandboxBackend
from dfdc_kit.sandbox.bubblewrap import BubblewrapBackend
from dfdc_kit.sandbox.oci import OciBackend
from dfdc_kit.sandbox.process import ProcessBackend

# Best first.
BACKENDS: dict[str, SandboxBackend] = {
    "bubblewrap": BubblewrapBackend(),
    "oci": OciBackend(),
    "process": ProcessBackend(),
}

LIMITS = (
    *("wall_time", "cpu_cores", "memory", "gpu_memory", "processes", "output", "scratch", "log"),
    *("descendants", "network", "read_only_input", "hidden_files"),
)  # what --require accepts


def backends(profile: Profile | None) -> dict[str, SandboxBackend]:
    """The backends as they run jobs under `profile`, best first."""
    return {name: backend.for_profile(profile) if profile else backend for name, backend in BACKENDS.items()}


def choose(
    name: str = "",
    profile: Profile | None = None,
    require: Iterable[str] = (),
    warn: Callable[[str], None] | None = None,
) -> SandboxBackend:
    """The backend `name`, or the best that works on this machine and enforces each limit of `require`.

    `warn` gets a sentence where that is not the best of all, with the reason.
    Raises UsageError for an unknown name or limit, and for a limit that the profile does not set; SandboxError, with
    the reason of each backend, if none qualifies.
    """
    if name and name not in BACKENDS:
        aliases = {alias: known for known, backend in BACKENDS.items() for alias in backend.aliases}
        hint = suggest(name, BACKENDS, label="Backends", aliases=aliases)
        raise UsageError(f"Unknown sandbox backend {name!r}.", hint=hint)
    required = list(dict.fromkeys(require))
    for limit in required:
        if limit not in LIMITS:
            raise UsageError(f"Unknown limit {limit!r} in --require.", hint=suggest(limit, LIMITS, label="Limits"))
    reasons: dict[str, str] = {}
    known = backends(profile)
    limits = profile.limits if profile else Limits()
    for candidate in [known[name]] if name else known.values():
        reason = candidate.unavailable() or _unenforced(candidate, limits, required)
        if not reason:
            if reasons and warn is not None:
                best, why = next(iter(reasons.items()))
                warn(f"Using the sandbox backend {candidate.name}: {best} does not work here ({why}). See: dfdc doctor")
            return candidate
        reasons[candidate.name] = reason
    why = "; ".join(f"{backend}: {reason}" for backend, reason in reasons.items())
    need = f" that enforces {', '.join(required)}" if required else ""
    raise SandboxError(f"No sandbox backend{need} works here ({why}).", command="dfdc doctor")


def _unenforced(backend: SandboxBackend, limits: Limits, required: list[str]) -> str:
    """The required limits that `backend` does not enforce here, each with the reason; empty if it enforces all."""
    if not required:
        return ""
    found = {claim.limit: claim for claim in backend.enforcement(limits)}
    for limit in required:
        if limit not in found:
            raise UsageError(
                f"--require {limit}: the profile sets no such limit.",
                hint="Choose a profile that sets it",
                command="dfdc profiles",
            )
    short = [found[limit] for limit in required if found[limit].status.startswith(NOT_ENFORCED)]
    return "; ".join(f"{claim.limit} is {claim.status}: {claim.how}" for claim in short)
