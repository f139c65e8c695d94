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
    """How many videos a hidden test holds."""

    public_test_videos: int
    private_test_videos: int


class Parts(Settings, frozen=True, kw_only=True):
    """The full training set: archives that only a browser's session may fetch. `{part}` is a number from 0."""

    count: int
    archive: str  # name of the download
    folder: str  # name of the folder inside
    url: str
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
