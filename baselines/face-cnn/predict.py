"""From the crops of many videos to the log odds of each: batches across videos, on the GPU or on all cores."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import cv2
import numpy as np
import torch
from combine import mean
from model import SIDE, FaceNet

CPU_BATCH = 16  # crops: one video. More would be no faster there, and cost memory
MAX_LOGIT = 12.0  # so that a probability never rounds to 0 or 1
BYTES_PER_CROP = 12 << 20  # of activations, without gradients, at SIDE pixels in float32
Rgb = np.ndarray  # (h, h, 3) uint8
Key = TypeVar("Key")
Faces = list[list[Rgb]]  # of one video: for each face its crops
FaceLogits = list[np.ndarray]  # of one video: for each face the log odds (n,) of its crops


def batch_size(device: torch.device, bytes_per_crop: int = BYTES_PER_CROP, most: int = 256) -> int:
    """Crops that are looked at together: on a GPU as many as half of its free memory holds, a power of two."""
    if device.type != "cuda":
        return CPU_BATCH
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return max(2, min(most, 1 << int(np.log2(max(free_bytes / 2 / bytes_per_crop, 2)))))


class Scorer:
    """A network where it computes. On a processor each thread that asks computes for itself, on one core."""

    def __init__(self, net: FaceNet, device: torch.device, cores: int) -> None:
        self.net = net.to(device, memory_format=torch.channels_last).eval()
        self.device, self.gpu = device, device.type == "cuda"
        self.threads = 1 if self.gpu else cores
        self.batch = batch_size(device)

    def logits(self, crops: list[Rgb]) -> np.ndarray:
        """(n,) float64 log odds of FAKE of n crops."""
        small = np.stack([cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for crop in crops])
        batch = torch.from_numpy(small).permute(0, 3, 1, 2)  # (n, 3, SIDE, SIDE), channels last in memory
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=self.gpu):
            return self.net(batch.to(self.device, non_blocking=True)).double().cpu().numpy()

    def videos(self, videos: Iterable[tuple[Key, Faces]]) -> Iterator[tuple[Key, FaceLogits]]:
        """The log odds of every crop, in order. While batches are computed, the next videos are taken from `videos`.

        What is in a batch depends on the order alone, not on how fast anything is: the same videos, the same numbers.
        """
        waiting: deque[Future[list[tuple[Key, FaceLogits]]]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            for together in batches(videos, self.batch):
                waiting.append(pool.submit(self._batch, together))
                if len(waiting) > self.threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()

    def _batch(self, videos: list[tuple[Key, Faces]]) -> list[tuple[Key, FaceLogits]]:
        logits = iter(self.logits([crop for _, faces in videos for crops in faces for crop in crops]))
        return [(key, [np.array([next(logits) for _ in crops]) for crops in faces]) for key, faces in videos]


def batches(videos: Iterable[tuple[Key, Faces]], size: int) -> Iterator[list[tuple[Key, Faces]]]:
    """Whole videos, together at least `size` crops; fewer only at the end."""
    together: list[tuple[Key, Faces]] = []
    for key, faces in videos:
        together.append((key, faces))
        if sum(len(crops) for _, of_video in together for crops in of_video) >= size:
            yield together
            together = []
    if together:
        yield together


def video_logit(faces: FaceLogits) -> float:
    """Log odds of a video: of each face the mean probability over its crops; the face most like a fake decides."""
    p = max(mean(1 / (1 + np.exp(-np.clip(logits, -MAX_LOGIT, MAX_LOGIT)))) for logits in faces)
    return float(np.log(p / (1 - p)))
