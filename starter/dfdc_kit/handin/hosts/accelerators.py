"""Which accelerator a hosted run asks for: Kaggle replaces retired ones without a word, so they are refused here."""

import difflib
from pathlib import Path

from dfdc_kit.errors import UsageFault
from dfdc_kit.profiles import Profile
from dfdc_kit.settings import Settings, read_toml

TABLE = Path(__file__).with_name("accelerators.toml")
CPU_PROFILE, GPU_PROFILE = "kaggle-today-cpu", "kaggle-today-gpu"


class Retired(Settings, frozen=True, kw_only=True):
    """An accelerator that cannot be had any more."""

    hardware: str
    runs_on: str  # what a session gets instead; empty: a CPU


class Accelerators(Settings, frozen=True, kw_only=True):
    """The table of names."""

    source: str
    as_of: str
    offered: dict[str, str]  # name -> hardware
    retired: dict[str, Retired]


def accelerators() -> Accelerators:
    """The names that Kaggle knows, and those it knew."""
    return read_toml(TABLE, Accelerators)


def choose(asked: str, profile: Profile, *, gpu: bool) -> str:
    """The name to ask for: `asked`, else that of the profile's hardware if the submission wants a GPU, else none.

    Raises UsageFault for a retired one, naming its replacement, and for a name that is not known.
    """
    table = accelerators()
    if not asked and not gpu:
        return ""
    wanted = asked or _of_hardware(profile.hardware.gpu, table)
    names = {name.lower(): name for name in (*table.offered, *table.retired)}
    name = names.get(wanted.lower())
    if name is None:
        near = difflib.get_close_matches(wanted.lower(), names, n=1, cutoff=0.5)
        hint = f"Did you mean {names[near[0]]}?" if near else f"Known: {', '.join(table.offered)}"
        raise UsageFault(f"There is no accelerator {wanted!r}.", hint=hint)
    if name in table.retired:
        gone = table.retired[name]
        raise UsageFault(
            f"{name} ({gone.hardware}) is retired ({table.as_of}): a session that asks for it runs on"
            f" {gone.runs_on or 'a CPU'}, and nothing says so.",
            hint=_instead(gone.runs_on, asked),
        )
    return name


def _of_hardware(gpu: str, table: Accelerators) -> str:
    for name, hardware in (*table.offered.items(), *((name, one.hardware) for name, one in table.retired.items())):
        if hardware == gpu:
            return name
    seen = f"has {gpu}, which Kaggle does not offer" if gpu else "has no GPU, and the submission declares one"
    raise UsageFault(f"The runtime profile {seen}.", hint=f"For example: --profile {GPU_PROFILE}")


def _instead(replacement: str, asked: str) -> str:
    if not replacement:
        return "Leave the accelerator out, or choose another: --accelerator NvidiaTeslaT4"
    return f"Ask for it: --accelerator {replacement}" if asked else f"Use today's machine: --profile {GPU_PROFILE}"
