"""A data folder in the challenge's own layout, or just a folder of videos."""

import os
from pathlib import Path

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import preview, read_csv
from dfdc_kit.errors import DataMissingError
from dfdc_kit.formatting import join_names, plural


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """The test videos that a run is given, and what stands beside them."""

    folder: Path
    videos: list[Path]  # sorted by name
    sample_submission: Path | None
    solution: Path | None  # a solution CSV, a metadata.json, or a folder that holds one


def find_dataset(folder: Path, challenge: Challenge, solution: Path | None = None) -> Dataset:
    """Find the test videos in `folder`: in its `test_videos/`, else in itself. Raises DataMissingError.

    The truth is `truth` if given; else the folder's own solution; else, for a plain folder of videos, its
    `metadata.json` or `labels.csv`; else unknown, and a run is judged without a score.
    """
    if not folder.is_dir():
        raise DataMissingError(f"There is no folder {folder}.", hint="Without --data, the bundled sample is used.")
    layout = challenge.data
    videos_in = folder / layout.test_videos if (folder / layout.test_videos).is_dir() else folder
    suffix = layout.video_suffix.lower()
    videos = sorted(path for path in videos_in.iterdir() if path.suffix.lower() == suffix and path.is_file())
    if not videos:
        raise DataMissingError(
            f"{videos_in} holds no *{layout.video_suffix} file.",
            hint=f"Expected: {folder}/{layout.test_videos}/*{layout.video_suffix}, or the videos in the folder itself.",
        )
    if solution is not None and not solution.exists():
        raise DataMissingError(f"There is no solution {solution}.")
    sample = folder / layout.sample_submission
    places = [folder / layout.solution, videos_in / layout.metadata, videos_in / "labels.csv"]
    return Dataset(
        folder=folder.resolve(),
        videos=videos,
        sample_submission=sample if sample.is_file() else None,
        solution=solution or next((path for path in places if path.is_file()), None),
    )


def sample_mismatch(dataset: Dataset, challenge: Challenge) -> str:
    """A sentence if the sample submission lists other videos than those that are there; empty if not."""
    if dataset.sample_submission is None:
        return ""
    ids = read_csv(dataset.sample_submission).column(challenge.submission.row_id)
    if ids is None:
        return ""
    rows, there = set(ids.tolist()), {os.fsencode(video.name) for video in dataset.videos}
    absent, extra = sorted(rows - there), sorted(there - rows)
    told = []
    if absent:
        are = "is" if len(absent) == 1 else "are"
        told.append(f"{plural(len(absent), 'video')} that it lists {are} not there ({_first(absent)})")
    if extra:
        are = "is" if len(extra) == 1 else "are"
        told.append(f"{plural(len(extra), 'video')} that {are} there {are} not in it ({_first(extra)})")
    return f"{dataset.sample_submission} does not fit the videos: {'; '.join(told)}." if told else ""


def _first(names: list[bytes]) -> str:
    return join_names((repr(preview(name)) for name in names), most=3)
