"""Sandboxes: run somebody else's program under limits, and leave nothing of it behind."""

from collections.abc import Iterable

from dfdc_kit.errors import SandboxError, UsageError, suggest
from dfdc_kit.profiles import Limits, Profile
from dfdc_kit.sandbox.base import NOT_ENFORCED, SandboxBackend
from dfdc_kit.sandbox.bubblewrap import BubblewrapBackend
from dfdc_kit.sandbox.oci import OciBackend
from dfdc_kit.sandbox.process import ProcessBackend

# Best first. The container's image is named by the profile: see backends().
BACKENDS: dict[str, SandboxBackend] = {
    "bubblewrap": BubblewrapBackend(),
    "oci": OciBackend(),
    "process": ProcessBackend(),
}

ALIASES = {"docker": "oci", "podman": "oci", "container": "oci", "bwrap": "bubblewrap", "none": "process"}
LIMITS = (
    *("wall_time", "cpu_cores", "memory", "gpu_memory", "processes", "output", "scratch", "log"),
    *("descendants", "network", "read_only_input", "hidden_files"),
)  # what can be required


def backends(profile: Profile | None) -> dict[str, SandboxBackend]:
    """The backends as they are for runs under `profile`."""
    return BACKENDS if profile is None else {**BACKENDS, "oci": OciBackend(profile.image)}


def choose(name: str = "", profile: Profile | None = None, require: Iterable[str] = ()) -> SandboxBackend:
    """The backend `name`, or the best that works on this machine and keeps each limit of `require`.

    A limit that the profile does not set cannot be required. Raises UsageError for a name that is not
    known and for such a limit, SandboxError if there is no such backend here: it names each limit and the reason.
    """
    if name and name not in BACKENDS:
        raise UsageError(
            f"There is no sandbox backend {name!r}.", hint=suggest(name, BACKENDS, label="Backends", aliases=ALIASES)
        )
    required = list(dict.fromkeys(require))
    _known(required)
    reasons = {}
    known = backends(profile)
    limits = profile.limits if profile else Limits()
    for candidate in [known[name]] if name else known.values():
        reason = candidate.unavailable() or _falls_short(candidate, limits, required)
        if not reason:
            return candidate
        reasons[candidate.name] = reason
    why = "; ".join(f"{backend}: {reason}" for backend, reason in reasons.items())
    need = f" that keeps {', '.join(required)}" if required else ""
    raise SandboxError(f"No sandbox backend{need} works here ({why}).", command="dfdc doctor")


def _known(required: list[str]) -> None:
    for limit in required:
        if limit not in LIMITS:
            raise UsageError(f"There is no limit {limit!r} to require.", hint=suggest(limit, LIMITS, label="Limits"))


def _falls_short(backend: SandboxBackend, limits: Limits, required: list[str]) -> str:
    """The required limits that `backend` does not keep here, each with the reason; empty if it keeps all."""
    if not required:
        return ""
    found = {claim.limit: claim for claim in backend.enforcement(limits)}
    for limit in required:
        if limit not in found:
            raise UsageError(
                f"{limit} is required, but the profile sets no limit of that kind.",
                hint="Choose a profile that limits it.",
                command="dfdc profiles",
            )
    short = [found[limit] for limit in required if found[limit].status.startswith(NOT_ENFORCED)]
    return "; ".join(f"{claim.limit} is {claim.status}: {claim.how}" for claim in short)
