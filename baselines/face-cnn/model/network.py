"""The network: the first blocks of MobileNetV2 (arXiv 1801.04381) as trained on ImageNet, and a regression on top.

The traces of a fake are local: a seam, noise that stops at it, a face softer than its surroundings. So the network is
cut where the receptive field is about a fifth of the crop, and the deeper, more semantic blocks are left out: 0.2 M
parameters of 3.5 M remain. They stay as they are. What is trained is a logistic regression on mean and standard
deviation of every channel of every block, inside the face, on its rim and outside: a fake differs from its
surroundings.

The blocks see each crop twice: its colours, and its noise (high-pass filtered), which colours drown. On CPU they run in
OpenCV, which is as fast there as PyTorch; on a GPU in PyTorch (gpu.py).
"""

import threading
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

BLOCKS = Path(__file__).with_name("blocks.onnx")  # made by training/make_blocks.py
SIDE = 160  # pixels, of the network's square input
CHANNELS = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64)  # of each block, up to stride 16
OUTPUTS = [f"block{n}" for n in range(1, len(CHANNELS) + 1)]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB, of ImageNet, on which the blocks were trained
HIGH_PASS = np.array([(-1, 2, -1), (2, -4, 2), (-1, 2, -1)], np.float32)  # zero on any plane or edge along an axis
NOISE = 16.0  # filter output, in grey levels, that becomes 1
MAX_NOISE = 3.0
FACE = (0.62, 0.72)  # half width and half height of the outline of a face, in half sides of the crop
RIM = (0.75, 1.25)  # from there to there, in distances of the outline from the centre
BLUR = 6.0  # one region fades into the next over 1 / BLUR of that distance
VIEWS, REGIONS = 2, 3
STATISTICS = VIEWS * 2 * REGIONS * sum(CHANNELS)  # of a crop
REGRESSION = {"centre": (STATISTICS,), "spread": (STATISTICS,), "weight": (STATISTICS,), "bias": ()}  # shapes
MAX_DEVIATIONS = 5.0  # of a statistic from its mean


class Blocks(Protocol):
    """Where the blocks run."""

    device: str

    def batch(self) -> int:
        """How many crops to compute at a time."""

    def __call__(self, views: np.ndarray) -> list[np.ndarray]:
        """(n, 3, h, w) float32 -> the output of each block, (n, channels, h / stride, w / stride)."""


class OpenCvBlocks:
    """The blocks in OpenCV, on the core of the thread that calls. Each thread has a copy of the network."""

    device = "cpu"

    def __init__(self) -> None:
        self.content = np.frombuffer(BLOCKS.read_bytes(), np.uint8)
        self.local = threading.local()

    def batch(self) -> int:
        """One: larger batches are no faster, and cost memory."""
        return 1

    def __call__(self, views: np.ndarray) -> list[np.ndarray]:
        """See `Blocks`."""
        if not hasattr(self.local, "net"):
            self.local.net = cv2.dnn.readNetFromONNX(self.content)
        self.local.net.setInput(views)
        return list(self.local.net.forward(OUTPUTS))


class FaceNet:
    """Maps crops of a face to the logit of FAKE. Without weights of a regression every logit is 0."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.regression = {
            name: np.full(shape, float(name == "spread"), np.float32) for name, shape in REGRESSION.items()
        }

    def set_regression(self, arrays: dict[str, np.ndarray]) -> None:
        """Use one regression, arrays as in REGRESSION, or k of them: weight (STATISTICS, k), bias (k,)."""
        self.regression = {name: arrays[name] for name in REGRESSION}

    def __call__(self, crops: np.ndarray) -> np.ndarray:  # (n, SIDE, SIDE, 3) RGB, uint8
        """(n,) float32 logits of FAKE, or (n, k) of k regressions."""
        centre, spread, weight, bias = self.regression.values()
        deviations = ((self.statistics(crops) - centre) / spread).clip(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        return deviations @ weight + bias

    def statistics(self, crops: np.ndarray) -> np.ndarray:  # (n, SIDE, SIDE, 3) RGB, uint8
        """(n, STATISTICS) float32: of every block's channels, mean and standard deviation in each region, by view."""
        x = crops.astype(np.float32)
        noise = [cv2.filter2D(crop, -1, HIGH_PASS / NOISE, borderType=cv2.BORDER_CONSTANT) for crop in x]
        colours = (x - 255 * np.float32(MEAN)) / (255 * np.float32(STD))
        views = np.concatenate([colours, np.clip(noise, -MAX_NOISE, MAX_NOISE)])
        outputs = self.blocks(np.ascontiguousarray(views.transpose(0, 3, 1, 2)))
        pooled = np.concatenate([pool(output) for output in outputs], axis=1)
        return np.concatenate(np.split(pooled, VIEWS), axis=1)


def pool(x: np.ndarray) -> np.ndarray:  # (n, channels, h, w)
    """(n, 2 * REGIONS * channels): the mean of each channel in each region, and the standard deviation."""
    weight = regions(*x.shape[2:]).reshape(REGIONS, -1).T  # (h * w, REGIONS)
    x = x.reshape(*x.shape[:2], -1)
    mean, square = x @ weight, (x * x) @ weight  # (n, channels, REGIONS)
    both = np.concatenate([mean, np.sqrt((square - mean * mean).clip(1e-6))], axis=2)
    return both.transpose(0, 2, 1).reshape(len(x), -1)


@lru_cache
def regions(height: int, width: int) -> np.ndarray:
    """(REGIONS, height, width) float32: weights that sum to 1 inside the face, on its rim, and outside."""
    y, x = ((2 * np.arange(n) + 1) / n - 1 for n in (height, width))
    distance = np.hypot(x[None] / FACE[0], y[:, None] / FACE[1])  # 1 on the outline
    inside = ((RIM[0] - distance) * BLUR + 0.5).clip(0, 1)
    outside = ((distance - RIM[1]) * BLUR + 0.5).clip(0, 1)
    weight = np.stack([inside, (1 - inside) * (1 - outside), outside])
    return (weight / weight.sum(axis=(1, 2), keepdims=True).clip(1e-6)).astype(np.float32)


def save(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write arrays as .npz, atomically."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(path)


def load(path: Path | None, blocks: Blocks | None = None) -> FaceNet:
    """The network with the regression in `path`, or none; `blocks` are those in OpenCV unless given.

    Raises ValueError if the regression does not fit.
    """
    net = FaceNet(blocks or OpenCvBlocks())
    if path:
        with np.load(path, allow_pickle=False) as file:
            for name, shape in REGRESSION.items():
                if name not in file or file[name].shape != shape:
                    raise ValueError(f"{path} was made for another network (see {name}). Run train.py again.")
            net.set_regression(dict(file))
    return net
