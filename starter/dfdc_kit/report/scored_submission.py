"""A submission CSV or a run with its labels: losses, which videos share an original, and what else is known of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import as_text, read_csv
from dfdc_kit.data.inspection import Inspection, Inspector, VideoFile, list_videos
from dfdc_kit.data.solution import read_solution
from dfdc_kit.errors import DataError, SubmissionError, UsageError
from dfdc_kit.files import write_bytes
from dfdc_kit.report.history import find_run
from dfdc_kit.report.run_report import CSV, FALLBACKS, load
from dfdc_kit.scoring.metric import is_mean, load_metric
from dfdc_kit.scoring.score import matched_rows, score_submission
from dfdc_kit.scoring.uncertainty import clusters_of
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.parsed import read_leniently
from dfdc_kit.submission.validate import validate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredSubmission:
    """Rows that count, in the solution's order.

    names (n,); labels (n,) 0 or 1; predicted (n,) in [0, 1]; losses (n,), None where the score is not their mean;
    originals (n,): the original of each video, its own name for a real one or where it is unknown; has_originals:
    whether any original is known.
    """

    csv: Path
    solution: Path
    names: list[str]
    labels: npt.NDArray[np.uint8]
    predicted: Floats
    losses: Floats | None
    originals: list[str]
    has_originals: bool

    def row_losses(self) -> Floats:
        """The losses (n,). Raises UsageError where the metric has none."""
        if self.losses is None:
            raise UsageError(
                f"The score of {self.csv} is no mean of losses of its rows.", hint="The metric file needs `losses`."
            )
        return self.losses

    @property
    def clustered_by(self) -> str:
        """What rows were drawn by: "original" or "video"."""
        return "original" if self.has_originals else "video"


def read_scored_submission(what: str, solution: Path | None, runs: Path, challenge: Challenge) -> ScoredSubmission:
    """The rows of `what`, a submission CSV or a run in `runs`, with the labels of `solution` (a run has its own).

    Raises UsageError where neither names a solution, SubmissionError for an invalid file, DataError where the solution
    is another data set's.
    """
    csv, own = _find(what, runs)
    if not (solution or own):
        raise UsageError("The labels are not known.", hint="Name the solution: --solution PATH")
    full = read_solution(solution or Path(own), challenge)
    ids, _ = read_leniently(csv, challenge)
    known_rows = full.take(np.isin(full.ids, ids))
    if not len(known_rows.ids):
        raise DataError(
            f"{full.path} has no label for any row of {csv}: they are of different videos.",
            hint="Name the solution of these videos; only submissions of the same videos can be compared.",
        )
    expected = ExpectedRows.from_solution(known_rows.ids, known_rows.labels, f"the solution {known_rows.path}")
    validation, table = validate(csv, challenge, expected)
    if table is None:
        faults = "; ".join(error.message for error in validation.errors[:3])
        raise SubmissionError(f"{csv} is not valid: {faults}", command=f"dfdc validate {csv} --against {full.path}")
    metric = load_metric(challenge.metric_path)
    rows = matched_rows(metric, known_rows, table, challenge)
    score = score_submission(metric, known_rows, table, challenge).value
    known = clusters_of(rows.ids, known_rows.ids, known_rows.originals)
    return ScoredSubmission(
        csv=csv,
        solution=full.path,
        names=rows.ids,
        labels=rows.labels,
        predicted=rows.predicted,
        losses=rows.losses if rows.losses is not None and is_mean(rows.losses, score) else None,
        originals=rows.ids if known is None else [str(name) for name in known],
        has_originals=known is not None,
    )


def _find(what: str, runs: Path) -> tuple[Path, str]:
    """The CSV, and the solution of the run that it is from; "" for a CSV alone."""
    path = Path(what)
    if path.is_file() and path.suffix.lower() != ".json":
        return path, ""
    if path.suffix.lower() == ".csv":
        raise UsageError(f"File or folder not found: {path}")
    folder = find_run(runs, what, CSV)
    if not (folder / CSV).is_file():
        raise UsageError(f"The run {folder.name} left no {CSV}.", hint="Name a run that is complete.")
    return folder / CSV, load(folder).solution


def write_predictions(
    path: Path, scored: ScoredSubmission, change: Callable[[Floats], Floats], challenge: Challenge
) -> None:
    """Write the CSV of `scored` with changed predictions, all of its rows in its order, to `path`.

    Raises UsageError if `path` is the CSV itself, OutputError if it cannot be written.
    """
    if path.exists() and (path.is_dir() or path.samefile(scored.csv)):
        raise UsageError(f"{path} is {'a folder' if path.is_dir() else 'the submission itself'}; nothing was written.")
    ids, labels = read_leniently(scored.csv, challenge)
    columns = challenge.submission
    lines = [f"{columns.row_id},{columns.label}\n"]
    lines += [f"{name},{p!r}\n" for name, p in zip(as_text(ids), change(labels).tolist(), strict=True)]
    write_bytes(path, "".join(lines).encode())


# ------------------------------------------------------------------------------------------------- columns of the rows


def read_columns(
    scored: ScoredSubmission, challenge: Challenge, metadata: Sequence[Path] = (), videos: Path | None = None
) -> dict[str, list[str]]:
    """What is known of each row besides its label: name -> values (n,), "" where unknown.

    Columns of the solution and of the `metadata` files (CSV or JSON); the headers of the videos, if there are any in
    `videos` or in the solution's data folder; the reasons in the `fallbacks.csv` beside a run's CSV. Raises DataError.
    """
    found = {"label": [_class(label, challenge) for label in scored.labels.tolist()]}
    for file in (scored.solution, *metadata):
        for name, by_video in _table(file, challenge).items():
            if name not in _NOT_COLUMNS and name != challenge.submission.row_id:
                found.setdefault(name, [by_video.get(video, "") for video in scored.names])
    found |= _header_columns(scored, challenge, videos)
    reasons = _table(scored.csv.with_name(FALLBACKS), challenge).get("reason")
    if reasons:
        found["fallback"] = [reasons.get(video, "no") for video in scored.names]
    return {name: values for name, values in found.items() if any(values)}


_NOT_COLUMNS = ("label", "original", "filename")  # known already, or different for each row


def _class(label: int, challenge: Challenge) -> str:
    return challenge.submission.positive if label else challenge.submission.negative


def _table(path: Path, challenge: Challenge) -> dict[str, dict[str, str]]:
    """Column -> video -> text, of a CSV or a metadata.json; nothing if there is no such file. Raises DataError."""
    if not path.is_file():
        return {}
    if path.suffix.lower() == ".json":
        try:
            entries: dict[str, dict[str, Any]] = msgspec.json.decode(path.read_bytes())
            names = dict.fromkeys(name for entry in entries.values() for name in entry)
        except (msgspec.DecodeError, AttributeError, TypeError) as error:
            raise DataError(f"{path} is not a metadata.json: {error}") from error
        return {
            name: {video: str(entry[name]) for video, entry in entries.items() if entry.get(name) is not None}
            for name in names
        }
    text = read_csv(path)
    if not text.columns:
        return {}
    at = text.header.index(challenge.submission.row_id) if challenge.submission.row_id in text.header else 0
    videos = as_text(text.columns[at])
    return {
        name: dict(zip(videos, as_text(text.columns[i]), strict=True)) for i, name in enumerate(text.header) if i != at
    }


def find_videos(scored: ScoredSubmission, challenge: Challenge, folder: Path | None = None) -> dict[str, VideoFile]:
    """The video files of the rows, by name: in `folder`, else beside the solution or in its data folder."""
    beside = scored.solution.resolve().parent
    tests = challenge.data.test_videos
    folders = [folder, folder / tests] if folder else [beside, beside / tests, beside.parent / tests]
    for place in folders:
        present = list_videos(place, challenge.data.video_suffix)
        if wanted := {name: present[name] for name in scored.names if name in present}:
            return wanted
    return {}


def _header_columns(scored: ScoredSubmission, challenge: Challenge, folder: Path | None) -> dict[str, list[str]]:
    """Orientation, resolution, size, frame rate, audio and file size of the videos that can be read."""
    files = find_videos(scored, challenge, folder)
    if not files:
        return {}
    first = next(iter(files.values())).path.parent
    with Inspector(first) as inspector:
        seen = inspector.inspect(files.values())
    described = {name: _describe(seen[file.path]) for name, file in files.items()}
    return {
        column: [described[name][column] if name in described else "" for name in scored.names]
        for column in ("orientation", "resolution", "fps", "duration", "audio")
    } | {"size": _sizes(scored.names, files)}


def _sizes(names: Sequence[str], files: Mapping[str, VideoFile]) -> list[str]:
    """The quarter of the file sizes that each video is in, such as "2.1 to 3.4 MiB"."""
    sizes = np.array([files[name].size_bytes if name in files else np.nan for name in names]) / 2**20
    edges = np.unique(np.nanquantile(sizes, (0, 0.25, 0.5, 0.75, 1)))
    quarter = np.searchsorted(edges[1:-1], sizes, "right")
    texts = [f"{low:.3g} to {high:.3g} MiB" for low, high in pairwise(edges)] or ["one size"]
    return ["" if np.isnan(size) else texts[at] for size, at in zip(sizes, quarter.tolist(), strict=True)]


def _describe(seen: Inspection) -> dict[str, str]:
    header = seen.header
    if header is None:
        broken = f"unreadable: {seen.fault.code}" if seen.fault else "unreadable"
        return dict.fromkeys(("orientation", "resolution", "fps", "duration", "audio"), broken)
    upright = "portrait" if header.height > header.width else "landscape" if header.width > header.height else "square"
    return {
        "orientation": upright,
        "resolution": f"{header.width}x{header.height}",
        "fps": f"{float(Fraction(header.frame_rate)):.4g}" if header.frame_rate else "",
        "duration": f"{header.duration_s:.0f} s",
        "audio": "yes" if header.audio_time_base else "no",
    }
