"""What a challenge is: its slug, files, columns, metric and sizes, read from `challenges/<name>.toml`."""

import os
from pathlib import Path

from msgspec import structs

from dfdc_kit.errors import UsageError, suggest
from dfdc_kit.files import PACKAGE, bundled
from dfdc_kit.settings import Settings, read_toml

FOLDER = PACKAGE / "challenges"
BUNDLED = "dfdc"
CHOSEN_BY = "DFDC_CHALLENGE"  # environment variable: another challenge's name, or its TOML file


class SubmissionFile(Settings, frozen=True, kw_only=True):
    """The CSV that a code submission leaves in its working folder."""

    name: str
    row_id: str
    label: str
    positive: str  # what a label of 1 means
    negative: str


class DataLayout(Settings, frozen=True, kw_only=True):
    """Names inside a data folder of the challenge."""

    test_videos: str
    train_videos: str
    train_parts: str = ""  # "part_{}": folder of a part of the full training set, by number; empty: there are none
    metadata: str
    sample_submission: str
    solution: str
    video_suffix: str


class Metric(Settings, frozen=True, kw_only=True):
    """The metric file (a bundled name, or a path relative to the TOML file) and how its value is displayed."""

    file: str
    name: str
    lower_is_better: bool
    displayed_decimals: int

    @property
    def is_log_loss(self) -> bool:
        """Whether a sure and wrong row costs 34.5: some advice holds for log loss alone."""
        return self.name == "log loss"


class Sizes(Settings, frozen=True, kw_only=True):
    """How many videos a hidden test holds, and in how many parts the full training set comes."""

    public_test_videos: int
    private_test_videos: int
    train_parts: int = 0
    typical_video: tuple[int, int, int] | None = None  # frames, width, height; None: not known


class Parts(Settings, frozen=True, kw_only=True):
    """The archives of the full training set, which only a browser's session may fetch; `{part}` counts from 0."""

    archive: str  # name of the download, with {part}
    url: str  # with {part}
    largest_bytes: int
    total_bytes: int
    source: str
    as_of: str


class Challenge(Settings, frozen=True, kw_only=True):
    """One challenge, as data."""

    slug: str
    title: str
    submission: SubmissionFile
    data: DataLayout
    metric: Metric
    sizes: Sizes
    parts: Parts | None = None
    source: str
    as_of: str

    @property
    def metric_path(self) -> Path:
        """The metric file: the challenge's own if `load` found one next to its TOML file, else the bundled one."""
        own = Path(self.metric.file)
        return own if own.is_absolute() else bundled(self.metric.file)


def load(name: str = "") -> Challenge:
    """The challenge `name`, or the one in the TOML file `name`; else that of the variable DFDC_CHALLENGE, else DFDC.

    A metric file next to the TOML file takes precedence over a bundled one. Raises UsageError or DataError.
    """
    name = name or os.environ.get(CHOSEN_BY) or BUNDLED
    path = Path(name).absolute() if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("*.toml"))
        hint = suggest(name, known, label="A TOML file or one of")
        raise UsageError(f"Unknown challenge {name!r} (--challenge or {CHOSEN_BY}).", hint=hint)
    challenge = read_toml(path, Challenge)
    own = path.parent / challenge.metric.file
    if not own.is_file():
        return challenge
    return structs.replace(challenge, metric=structs.replace(challenge.metric, file=str(own)))
