"""Logits of many videos from their crops: batches across videos, on the GPU or on all CPU cores."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import cv2
import numpy as np
from combine import mean
from network import SIDE, Blocks, FaceNet, OpenCvBlocks

try:
    from gpu import cuda_blocks
except ImportError:  # PyTorch is not installed
    cuda_blocks = None

VIDEO = 16  # crops: of one face of one video
MAX_LOGIT = 12.0  # so that a probability never rounds to 0 or 1
Rgb = np.ndarray  # (h, h, 3) uint8
Key = TypeVar("Key")
Faces = list[list[Rgb]]  # the crops of each face of one video
FaceLogits = list[np.ndarray]  # (n,) logits of the crops of each face of one video, or (n, k) of k regressions


def fastest_blocks() -> Blocks:
    """The blocks in PyTorch on a GPU, if it is installed and finds one, else in OpenCV."""
    return (cuda_blocks and cuda_blocks()) or OpenCvBlocks()


class Scorer:
    """A network on its device. On CPU each thread computes a batch of its own, on one core."""

    def __init__(self, net: FaceNet, cores: int) -> None:
        self.net = net
        self.threads = 1 if net.blocks.device == "cuda" else cores
        self.batch = net.blocks.batch()

    def logits(self, crops: list[Rgb]) -> np.ndarray:
        """(n,) float64 logits of FAKE of n crops, or (n, k)."""
        return np.concatenate([self._logits(crops[n : n + self.batch]) for n in range(0, len(crops), self.batch)])

    def _logits(self, crops: list[Rgb]) -> np.ndarray:
        """Logits of at most `batch` crops. Always as many are computed: each new number would cost time and memory."""
        small = np.zeros((self.batch, SIDE, SIDE, 3), np.uint8)
        for n, crop in enumerate(crops):
            small[n] = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return self.net(small)[: len(crops)].astype(np.float64)

    def videos(self, videos: Iterable[tuple[Key, Faces]]) -> Iterator[tuple[Key, FaceLogits]]:
        """The logits of every crop, in order. While batches are computed, the next videos are taken from `videos`.

        Batches depend on the order of the videos only, not on timing: the same videos give the same numbers.
        """
        pending: deque[Future[list[tuple[Key, FaceLogits]]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            for batch in batches(videos, max(self.batch, VIDEO)):
                pending.append(pool.submit(self._batch, batch))
                if len(pending) > self.threads:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()

    def _batch(self, videos: list[tuple[Key, Faces]]) -> list[tuple[Key, FaceLogits]]:
        logits = iter(self.logits([crop for _, faces in videos for crops in faces for crop in crops]))
        return [(key, [np.array([next(logits) for _ in crops]) for crops in faces]) for key, faces in videos]


def batches(videos: Iterable[tuple[Key, Faces]], size: int) -> Iterator[list[tuple[Key, Faces]]]:
    """Groups of videos with at least `size` crops in total; the last may have fewer."""
    batch: list[tuple[Key, Faces]] = []
    for key, faces in videos:
        batch.append((key, faces))
        if sum(len(crops) for _, faces in batch for crops in faces) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def video_logit(faces: FaceLogits) -> float:
    """Logit of a video: the mean probability over the crops of each face; the face most like a fake decides."""
    p = max(mean(1 / (1 + np.exp(-np.clip(logits, -MAX_LOGIT, MAX_LOGIT)))) for logits in faces)
    return float(np.log(p / (1 - p)))
