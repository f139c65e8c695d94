"""Statistics of 16 pairs of frames and a logistic regression, with predictions shrunk toward 0.5.

A swapped face has been resampled, blended and smoothed: its noise, its sharpness and its flicker from frame to frame
differ from the rest of the picture. This baseline detects no faces: in this challenge they are mostly near the centre,
so the centre is compared with the border. That is weak evidence: `train.py` measures on held-out originals how far
predictions may move away from 0.5.

Only pixels are used, not rotation, size or frame rate: in this challenge's public files the container alone gives
labels away, which does not carry over to other data.
"""

import csv
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np

MOUNTS = [Path(f"/kaggle/input/{place}deepfake-detection-challenge") for place in ("competitions/", "")]  # now, in 2020
INPUT = Path(os.environ.get("DFDC_INPUT_DIR") or next(filter(Path.is_dir, MOUNTS), MOUNTS[-1]))
BESIDE = Path(globals().get("__file__", "main.py")).resolve().parent  # a notebook cell has no __file__
# The other files are next to this script, or on Kaggle in an attached data set; the second pattern is today's
ATTACHED = (folder for place in ("*", "datasets/*/*") for folder in sorted(Path("/kaggle/input").glob(place)))
HOME = next((folder for folder in (BESIDE, *ATTACHED) if (folder / "calibrate.py").is_file()), BESIDE)
sys.path.insert(0, str(HOME))

from calibrate import to_probability  # noqa: E402

PAIRS = 16  # of successive frames, evenly spaced over the video
MIN_PAIRS = 4  # with fewer, the fallback prediction is better
MAX_FRAMES = 900  # 30 s; only the beginning of a longer video is read
MIN_SIDE = 64  # pixels, of a video
SHORT_SIDE = 180  # pixels, of the small picture
MAX_NOISE = 20  # grey levels; larger differences are edges, not noise
MAX_Z = 4.0  # standard deviations: an unusual video must not give a confident prediction
EPSILON = 0.01  # grey levels, added before a logarithm: a black picture has no noise at all
LUMA_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray")

PAIR_FEATURES = (  # what `statistics` returns; _cb: centre minus border
    "blocking_across",  # differences across 8-pixel block borders relative to those elsewhere
    "blocking_down",
    "noise",  # second differences at full resolution, centre
    "noise_cb",
    "kurtosis",  # their fourth moment over the squared second one
    "kurtosis_cb",
    "correlation",  # with their right neighbours
    "correlation_cb",
    "zeros",  # fraction of zeros among them
    "zeros_cb",
    "sharp",  # high-pass of the small picture
    "sharp_cb",
    "fine_to_sharp_cb",  # noise minus sharpness: low where a region was upsampled
    "sharp_to_coarse",  # sharpness minus sharpness at half the size
    "sharp_to_coarse_cb",
    "contrast",
    "contrast_cb",
    "motion",  # between the two small pictures
    "motion_cb",
    "flicker",  # high-pass of that difference: changes without motion
    "flicker_cb",
)
SPREAD = (  # features whose standard deviation over the pairs is used, too
    "noise_cb",
    "sharp_cb",
    "contrast_cb",
    "motion_cb",
    "flicker_cb",
    "flicker",
)
FEATURES = (*PAIR_FEATURES, *(f"{name}_spread" for name in SPREAD))


class UnusableVideoError(Exception):
    """A video that gets the fallback prediction; the text is a short reason code."""


# ---------------------------------------------------------------------------------------------------- reading a video


def count_frames(path: Path) -> int:
    """Packets of the first video stream, read without decoding (1 % of the cost) because headers can be wrong."""
    count = 0
    with av.open(path, metadata_errors="ignore") as container:
        if not container.streams.video:
            raise UnusableVideoError("no-video-stream")
        try:
            for packet in container.demux(container.streams.video[0]):
                count += packet.size > 0
                if count == MAX_FRAMES:
                    break
        except av.FFmpegError:
            if not count:
                raise
    if count < 2 * MIN_PAIRS:
        raise UnusableVideoError("too-short" if count else "no-frames")
    return count


def luma(frame: av.VideoFrame) -> np.ndarray:
    """(height, width) uint8: the decoder's own Y plane without a copy; other pixel formats are converted first."""
    if frame.format.name not in LUMA_FIRST:
        frame = frame.reformat(format="yuv420p")
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]


def read_pairs(path: Path) -> np.ndarray:
    """(n, len(PAIR_FEATURES)) statistics, MIN_PAIRS <= n <= PAIRS; a truncated file is used up to where it ends."""
    total = count_frames(path)
    n = min(PAIRS, total // 2)
    firsts = {
        (2 * i + 1) * (total - 1) // (2 * n) for i in range(n)
    }  # at most total - 2, so that each has a second frame
    rows: list[list[float]] = []
    first: np.ndarray | None = None
    with av.open(path, metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_count = 1  # one video per core is faster than one video on all cores
        try:
            for index, frame in enumerate(container.decode(stream)):  # in order: seeking costs several times more
                if first is not None:
                    second = luma(frame)
                    if second.shape == first.shape:
                        rows.append(statistics(first, second))
                    if len(rows) == n:
                        break
                first = luma(frame) if index in firsts else None
        except av.FFmpegError:
            if len(rows) < MIN_PAIRS:
                raise
            print(f"{path.name}: truncated, predicted from {len(rows)} of {n} frame pairs", flush=True)
    if len(rows) < MIN_PAIRS:
        raise UnusableVideoError("too-short")
    return np.array(rows)


# --------------------------------------------------------------------------------------------------------- statistics


def statistics(first: np.ndarray, second: np.ndarray) -> list[float]:
    """The PAIR_FEATURES of two successive frames (height, width) uint8.

    Integer sums where possible, so that all machines and library versions give the same numbers.
    """
    if min(first.shape) < MIN_SIDE:
        raise UnusableVideoError("too-small")
    step = max(1, min(first.shape) // SHORT_SIDE)
    across = np.diff(first[::step].astype(np.int16), axis=1)  # (height / step, width - 1)
    down = np.diff(first[:, ::step].astype(np.int16), axis=0)  # (height - 1, width / step)
    noise = np.clip(np.diff(across, axis=1), -MAX_NOISE, MAX_NOISE)  # (height / step, width - 2)
    fine_sums, all_sums = noise_sums(centre(noise)), noise_sums(noise)
    fine, fine_border = noise_moments(fine_sums), noise_moments(all_sums - fine_sums)  # (4,) each

    before, after = shrink(first, step), shrink(second, step)  # (height / step, width / step)
    sharp = centre_border(high_pass(before))
    coarse = centre_border(high_pass(shrink(before, 2)))
    contrast = centre_border(before - before.mean())
    motion = centre_border(after - before)
    flicker = centre_border(high_pass(after - before))
    pairs = [pair for both in zip(fine, fine - fine_border, strict=True) for pair in both]
    return [
        blocking(np.abs(across).sum(axis=0, dtype=np.int64)),
        blocking(np.abs(down).sum(axis=1, dtype=np.int64)),
        *pairs,
        sharp[0],
        sharp[0] - sharp[1],
        (fine[0] - fine_border[0]) - (sharp[0] - sharp[1]),
        sharp[0] - coarse[0],
        (sharp[0] - coarse[0]) - (sharp[1] - coarse[1]),
        contrast[0],
        contrast[0] - contrast[1],
        motion[0],
        motion[0] - motion[1],
        flicker[0],
        flicker[0] - flicker[1],
    ]


def centre(picture: np.ndarray) -> np.ndarray:
    """The central half in both directions, a quarter of the area; the same when the video is rotated."""
    height, width = picture.shape
    return picture[height // 4 : height - height // 4, width // 4 : width - width // 4]


def centre_border(picture: np.ndarray) -> tuple[float, float]:
    """Logarithm of the mean magnitude, in the centre and outside it."""
    size = np.abs(picture)
    inner = centre(size)
    border = (size.sum() - inner.sum()) / (size.size - inner.size)
    return float(np.log(inner.mean() + EPSILON)), float(np.log(max(border, 0.0) + EPSILON))


def shrink(picture: np.ndarray, step: int) -> np.ndarray:
    """Means of `step` x `step` pixels, float64. Not a video library's scaler: its results change with its version."""
    height, width = (side // step * step for side in picture.shape)
    wide = np.uint32 if picture.dtype == np.uint8 else np.float64
    rows = sum(picture[i:height:step].astype(wide) for i in range(step))  # (height / step, all columns)
    return sum(rows[:, i:width:step] for i in range(step)) / step**2


def high_pass(picture: np.ndarray) -> np.ndarray:
    """(height - 2, width - 2): each pixel minus the mean of its four neighbours."""
    inner = picture[1:-1, 1:-1]
    return inner - (picture[:-2, 1:-1] + picture[2:, 1:-1] + picture[1:-1, :-2] + picture[1:-1, 2:]) / 4


def noise_sums(noise: np.ndarray) -> np.ndarray:
    """(5,) int64: count, zeros, sums of squares, of fourth powers and of products of neighbours."""
    squares = noise * noise  # at most 400, fits into int16
    return np.array([
        noise.size,
        noise.size - np.count_nonzero(noise),
        squares.sum(dtype=np.int64),
        (squares.astype(np.int32) ** 2).sum(dtype=np.int64),
        (noise[:, 1:] * noise[:, :-1]).sum(dtype=np.int64),
    ])  # fmt: skip


def noise_moments(sums: np.ndarray) -> np.ndarray:
    """(4,): log of the RMS, log of the kurtosis, correlation of neighbours, fraction of zeros."""
    count, zeros, squares, fourths, products = (float(value) for value in sums)
    power = squares / count + EPSILON
    return np.array(
        [np.log(power) / 2, np.log((fourths / count + EPSILON) / power**2), products / count / power, zeros / count]
    )


def blocking(differences: np.ndarray) -> float:
    """Log ratio of the mean difference across 8-pixel block borders to that elsewhere; `differences` (n,)."""
    at_borders = differences[7::8]
    elsewhere = (differences.sum() - at_borders.sum()) / (len(differences) - len(at_borders))
    return float(np.log((at_borders.mean() + EPSILON) / (elsewhere + EPSILON)))


def features(path: Path) -> np.ndarray:
    """(len(FEATURES),) of one video: medians over the pairs, then the SPREAD. Raises UnusableVideoError."""
    try:
        rows = read_pairs(path)  # (n, len(PAIR_FEATURES))
    except FileNotFoundError:
        raise UnusableVideoError("missing") from None
    except (av.FFmpegError, OSError) as error:
        raise UnusableVideoError("unreadable") from error
    spread = rows[:, [PAIR_FEATURES.index(name) for name in SPREAD]].std(axis=0)
    return np.concatenate([np.median(rows, axis=0), spread])


def all_features(paths: Iterable[Path]) -> Iterator[np.ndarray | UnusableVideoError]:
    """The features of each video, or the error, in the order of `paths`; one thread per core, one video per thread."""

    def attempt(path: Path) -> np.ndarray | UnusableVideoError:
        try:
            return features(path)
        except UnusableVideoError as error:
            return error

    with ThreadPoolExecutor(cpu_count()) as pool:
        yield from pool.map(attempt, paths)


def cpu_count() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --------------------------------------------------------------------------------------------------------- prediction


def standardise(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(..., n_features), in standard deviations of the training set, clipped."""
    return np.clip((values - mean) / scale, -MAX_Z, MAX_Z)


def predict(values: np.ndarray, model: dict) -> float:
    """FAKE probability of one video with the features `values` (n_features,)."""
    z = standardise(values, np.array(model["mean"]), np.array(model["scale"]))
    logit = float(z @ np.array(model["coefficients"])) + model["intercept"]
    return float(to_probability(np.array(logit), model["shrinkage"], model["clip"]))


def load_model() -> dict:
    """`model.json`. Raises ValueError if it was made for other features than this file computes."""
    model = json.loads((HOME / "model.json").read_text(encoding="utf-8"))
    if tuple(model["features"]) != FEATURES:
        raise ValueError("model.json was made for other features than main.py computes. Run train.py again.")
    return model


def write_csv(name: str, header: tuple[str, str], rows: Iterable[tuple[str, object]]) -> None:
    """Write a CSV file into the working folder, atomically."""
    part = Path(f"{name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)
    part.replace(name)


def main() -> None:
    """One row for each row of the mounted sample_submission.csv, which the hidden rerun replaces."""
    started = time.perf_counter()
    model = load_model()
    with (INPUT / "sample_submission.csv").open(newline="", encoding="utf-8") as file:
        names = [row["filename"] for row in csv.DictReader(file)]
    predictions: list[tuple[str, float]] = []
    fallbacks: list[tuple[str, str]] = []
    results = all_features(INPUT / "test_videos" / name for name in names)
    for name, result in zip(names, results, strict=True):
        if isinstance(result, UnusableVideoError):
            print(f"{name}: {result}, used the fallback prediction {model['fallback']}", flush=True)
            fallbacks.append((name, str(result)))
            predictions.append((name, model["fallback"]))
        else:
            predictions.append((name, predict(result, model)))
        if len(predictions) % 50 == 0 or len(predictions) == len(names):
            seconds = (time.perf_counter() - started) / len(predictions)
            print(f"{len(predictions)}/{len(names)}, {seconds:.2f} s per video, {len(fallbacks)} fallbacks", flush=True)
    write_csv("fallbacks.csv", ("filename", "reason"), fallbacks)
    write_csv("submission.csv", ("filename", "label"), predictions)


if __name__ == "__main__":
    main()
