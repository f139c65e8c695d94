"""Runtime profiles: the hosted machines and their limits, as data in `profiles/<name>.toml`, each with its source."""

from pathlib import Path
from typing import Annotated

import msgspec

from dfdc_kit.errors import UsageError, suggest
from dfdc_kit.files import PACKAGE
from dfdc_kit.settings import Settings, read_toml

FOLDER = PACKAGE / "profiles"
DEFAULT = "kaggle-2020-gpu"


Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e9)]  # 30 years: neither infinite nor NaN
Count = Annotated[int, msgspec.Meta(gt=0)]


class Limits(Settings, frozen=True, kw_only=True):
    """What a run may use; None means that nothing is limited."""

    wall_time_s: Seconds | None = None
    cpu_cores: Count | None = None  # that the run may use at once
    memory_bytes: Count | None = None  # of the whole process tree
    gpu_memory_bytes: Count | None = None  # of the whole process tree, on one card
    processes: Count | None = None  # processes and threads at once, of the whole tree
    output_bytes: Count | None = None  # in the working folder
    scratch_bytes: Count | None = None  # in the folder for temporary files, which is not kept
    log_bytes: Count | None = None  # standard output and standard error together
    network: bool = False  # whether the run may use the network


class Hardware(Settings, frozen=True, kw_only=True):
    """The hosted machine, for comparison with this one; not a limit."""

    cpu_cores: Count | None = None
    gpu: str = ""  # empty: none


class Profile(Settings, frozen=True, kw_only=True):
    """One hosted runtime."""

    title: str
    test_videos: Count | None = None  # how many videos the hidden test holds
    external_data_bytes: int | None = None
    image: str = ""  # container image for the backend `oci`; empty: that backend cannot run this profile
    limits: Limits
    hardware: Hardware
    packages: str = ""  # the list of the image's packages, packages/<name>.toml; empty: not known
    software: dict[str, str] = msgspec.field(default_factory=dict)  # name -> version in the hosted image
    source: dict[str, str]  # quantity -> where the number comes from
    as_of: str

    @property
    def offers_gpu(self) -> bool:
        """Whether a run may see a graphics card: the hosted machine has one, or the profile says nothing about it."""
        return bool(self.hardware.gpu) or self.hardware == Hardware()

    @property
    def seconds_per_video(self) -> float | None:
        """The wall time that each hidden video may cost, in seconds; None where nothing is limited."""
        if self.limits.wall_time_s is None or self.test_videos is None:
            return None
        return self.limits.wall_time_s / self.test_videos


def names() -> list[str]:
    """The names of all profiles, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str = DEFAULT) -> Profile:
    """The profile `name` (or a path to a TOML file of your own). Raises UsageError for an unknown name."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise UsageError(f"Unknown runtime profile {name!r}.", hint=suggest(name, names(), label="Profiles"))
    return read_toml(path, Profile)
