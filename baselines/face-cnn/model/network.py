"""The network: the first blocks of MobileNetV2 (arXiv 1801.04381) as trained on ImageNet, and a regression on top.

The traces of a fake are local: a seam, noise that stops at it, a face softer than its surroundings. So the network is
cut where the receptive field is about a fifth of the crop, and the deeper, more semantic blocks are left out: 0.2 M
parameters of 3.5 M remain. They stay as they are. What is trained is a logistic regression on mean and standard
deviation of every channel of every block, inside the face, on its rim and outside: a fake differs from its
surroundings.

The blocks see each crop twice: its colours, and its noise (high-pass filtered), which colours drown.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

PRETRAINED = Path(__file__).with_name("pretrained.npz")
SIDE = 160  # pixels, of the network's square input
BLOCKS = (  # (expansion, channels, repeats, stride), as in the paper's table 2, up to stride 16
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB, of ImageNet, on which the blocks were pretrained
HIGH_PASS = ((-1, 2, -1), (2, -4, 2), (-1, 2, -1))  # zero on any plane or edge along an axis
NOISE = 16.0  # filter output, in grey levels, that becomes 1
MAX_NOISE = 3.0
FACE = (0.62, 0.72)  # half width and half height of the outline of a face, in half sides of the crop
RIM = (0.75, 1.25)  # from there to there, in distances of the outline from the centre
BLUR = 6.0  # one region fades into the next over 1 / BLUR of that distance
VIEWS, REGIONS = 2, 3
STATISTICS = VIEWS * 2 * REGIONS * sum(channels * repeats for _, channels, repeats, _ in BLOCKS)  # of a crop
REGRESSION = {"centre": (STATISTICS,), "spread": (STATISTICS,), "weight": (STATISTICS,), "bias": ()}  # shapes
MAX_DEVIATIONS = 5.0  # of a statistic from its mean


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution with padding, batch normalisation, ReLU6."""
    padding = kernel // 2
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True)]


class Block(nn.Module):
    """Inverted residual: expand, depthwise convolution, project; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        wide = [nn.Sequential(*conv(inputs, hidden, 1))] if expansion > 1 else []
        depthwise = nn.Sequential(*conv(hidden, hidden, 3, stride, groups=hidden))
        self.conv = nn.Sequential(*wide, depthwise, nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:  # (n, inputs, h, w)
        """(n, outputs, h / stride, w / stride)."""
        return x + self.conv(x) if self.adds else self.conv(x)


class FaceNet(nn.Module):
    """Maps crops of a face to the logit of FAKE. Without weights of a regression every logit is 0."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(*conv(3, 32, 3, stride=2))]  # stride 2
        channels = 32
        for expansion, outputs, repeats, stride in BLOCKS:
            for repeat in range(repeats):
                layers.append(Block(channels, outputs, stride if repeat == 0 else 1, expansion))
                channels = outputs
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("filter", torch.tensor(HIGH_PASS).expand(3, 1, 3, 3) / NOISE, persistent=False)
        for name, shape in REGRESSION.items():
            self.register_buffer(name, torch.ones(shape) if name == "spread" else torch.zeros(shape), persistent=False)

    def set_regression(self, arrays: dict[str, np.ndarray]) -> None:
        """Use one regression, arrays as in REGRESSION, or k of them: weight (STATISTICS, k), bias (k,)."""
        for name in REGRESSION:
            setattr(self, name, torch.from_numpy(arrays[name]).to(self.mean.device))

    def forward(self, crops: Tensor) -> Tensor:  # (n, 3, SIDE, SIDE) RGB, uint8
        """(n,) logits of FAKE, or (n, k) of k regressions."""
        deviations = ((self.statistics(crops) - self.centre) / self.spread).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
        return deviations @ self.weight + self.bias

    def statistics(self, crops: Tensor) -> Tensor:  # (n, 3, SIDE, SIDE) RGB, uint8
        """(n, STATISTICS): of every block's channels, mean and standard deviation in each region, for both views."""
        x = crops.float()
        noise = conv2d(x, self.filter, padding=1, groups=3).clamp(-MAX_NOISE, MAX_NOISE)
        x = self.features[0](torch.cat([(x - self.mean) / self.std, noise]))  # (2n, 32, SIDE / 2, SIDE / 2)
        found = []
        for block in self.features[1:]:
            x = block(x)  # (2n, channels, h, w)
            found.append(pooled(x))
        return torch.cat(torch.cat(found, dim=1).split(len(crops)), dim=1)


def pooled(x: Tensor) -> Tensor:  # (n, channels, h, w)
    """(n, 2 * REGIONS * channels): the mean of each channel in each region, and the standard deviation."""
    weight = regions(x.shape[2], x.shape[3], x.device).flatten(1)  # (REGIONS, h * w)
    x = x.permute(0, 2, 3, 1).flatten(1, 2)  # (n, h * w, channels)
    mean, square = weight @ x, weight @ (x * x)  # (n, REGIONS, channels)
    return torch.cat([mean, (square - mean * mean).clamp(min=1e-6).sqrt()], dim=1).flatten(1)


@lru_cache
def regions(height: int, width: int, device: torch.device) -> Tensor:
    """(REGIONS, height, width): weights that sum to 1 inside the face, on its rim, and outside."""
    y, x = torch.meshgrid(*((2 * torch.arange(n) + 1) / n - 1 for n in (height, width)), indexing="ij")
    distance = torch.hypot(x / FACE[0], y / FACE[1])  # 1 on the outline
    inside = ((RIM[0] - distance) * BLUR + 0.5).clamp(0, 1)
    outside = ((distance - RIM[1]) * BLUR + 0.5).clamp(0, 1)
    weight = torch.stack([inside, (1 - inside) * (1 - outside), outside])
    return (weight / weight.sum(dim=(1, 2), keepdim=True).clamp(min=1e-6)).to(device)


def save(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write arrays as .npz, atomically."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(path)


def load(path: Path | None) -> FaceNet:
    """The network with the regression in `path`, or none, in eval mode. Raises ValueError if it does not fit."""
    net = FaceNet()
    with np.load(PRETRAINED, allow_pickle=False) as file:
        net.load_state_dict({name: torch.from_numpy(file[name].astype(np.float32)) for name in file}, strict=False)
    if path:
        with np.load(path, allow_pickle=False) as file:
            for name, shape in REGRESSION.items():
                if name not in file or file[name].shape != shape:
                    raise ValueError(f"{path} was made for another network (see {name}). Run train.py again.")
            net.set_regression(dict(file))
    return fused(net.eval())


def fused(net: FaceNet) -> FaceNet:
    """The same network, faster: each batch normalisation becomes part of the convolution before it."""
    for layers in [module for module in net.modules() if isinstance(module, nn.Sequential)]:
        for n, layer in enumerate(layers):
            if isinstance(layer, nn.BatchNorm2d):
                layers[n - 1], layers[n] = fuse_conv_bn_eval(layers[n - 1], layer), nn.Identity()
    return net
