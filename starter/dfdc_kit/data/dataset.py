"""A data folder in the challenge's own layout, or just a folder of videos."""

import os
from pathlib import Path

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import read_csv
from dfdc_kit.data.labels import names_in
from dfdc_kit.data.solution import LABELS_CSV
from dfdc_kit.errors import DataMissingError
from dfdc_kit.files import translate_read_errors
from dfdc_kit.formatting import plural


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """The test videos of a run, with the sample submission and the solution, where there are any."""

    folder: Path
    videos: list[Path]  # sorted by name
    sample_submission: Path | None
    solution: Path | None  # a solution CSV, a metadata.json, or a folder that contains one
    training: Path | None = None  # the training folder that a run mounts; None: found beside the videos


def find_dataset(folder: Path, challenge: Challenge, solution: Path | None = None) -> Dataset:
    """Find the test videos in `folder`: in its `test_videos/`, else in itself. Raises DataMissingError.

    The solution is `solution` if given; else the folder's own; else, for a plain folder of videos, its `metadata.json`
    or `labels.csv`; else None, and a run is judged without a score.
    """
    with translate_read_errors():
        return _find_dataset(folder, challenge, solution)


def _find_dataset(folder: Path, challenge: Challenge, solution: Path | None) -> Dataset:
    if not folder.is_dir():
        raise DataMissingError(
            f"File or folder not found: {folder}", hint="Without --data, the bundled sample is used."
        )
    layout = challenge.data
    videos_in = folder / layout.test_videos if (folder / layout.test_videos).is_dir() else folder
    suffix = layout.video_suffix.lower()
    videos = sorted(path for path in videos_in.iterdir() if path.suffix.lower() == suffix and path.is_file())
    if not videos:
        raise DataMissingError(
            f"{videos_in} contains no *{layout.video_suffix} file.",
            hint=f"Expected: {folder}/{layout.test_videos}/*{layout.video_suffix}, or the videos in the folder itself.",
        )
    if solution is not None and not solution.exists():
        raise DataMissingError(f"File or folder not found: {solution}")
    sample = folder / layout.sample_submission
    own = [folder / layout.solution, videos_in / layout.metadata, videos_in / LABELS_CSV]
    return Dataset(
        folder=folder.resolve(),
        videos=videos,
        sample_submission=sample if sample.is_file() else None,
        solution=solution or next((path for path in own if path.is_file()), None),
    )


def sample_mismatch(dataset: Dataset, challenge: Challenge) -> str:
    """A sentence if the sample submission lists other videos than those present; empty if not."""
    if dataset.sample_submission is None:
        return ""
    ids = read_csv(dataset.sample_submission).column(challenge.submission.row_id)
    if ids is None:
        return ""
    listed, present = set(ids.tolist()), {os.fsencode(video.name) for video in dataset.videos}
    missing, extra = sorted(listed - present), sorted(present - listed)
    problems = []
    if missing:
        are = "is" if len(missing) == 1 else "are"
        problems.append(f"{plural(len(missing), 'listed video')} {are} missing ({names_in(missing)})")
    if extra:
        are = "is" if len(extra) == 1 else "are"
        problems.append(f"{plural(len(extra), 'video')} {are} not listed ({names_in(extra)})")
    return f"{dataset.sample_submission} does not match the videos: {'; '.join(problems)}." if problems else ""
