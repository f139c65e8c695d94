"""What a challenge is: its slug, files, columns, metric and sizes, read from `challenges/<name>.toml`."""

from pathlib import Path

from dfdc_kit.resources import PACKAGE, bundled
from dfdc_kit.settings import Settings, read_toml

FOLDER = PACKAGE / "challenges"


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
    """The metric file (a bundled name, or a path beside the TOML file) and how its value is displayed."""

    file: str
    name: str
    lower_is_better: bool
    displayed_decimals: int


class Sizes(Settings, frozen=True, kw_only=True):
    """How many videos a hidden test holds, and in how many parts the full training set comes."""

    public_test_videos: int
    private_test_videos: int
    train_parts: int = 0


class Parts(Settings, frozen=True, kw_only=True):
    """The archives of the full training set, which only a browser's session may fetch; `{part}` counts from 0."""

    archive: str  # name of the download, with {part}
    url: str  # where it lies, with {part}
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
        """The metric file: beside the challenge's TOML file if it is there, else the bundled one."""
        own = FOLDER / self.metric.file
        return own if own.is_file() else bundled(self.metric.file)


def load(name: str = "dfdc") -> Challenge:
    """The challenge `name`, e.g. "dfdc". Raises MissingData or BadData."""
    return read_toml(FOLDER / f"{name}.toml", Challenge)
