"""The network: the first blocks of MobileNetV2 (arXiv 1801.04381), global average pooling, one logit.

The traces of a fake are local: a seam, noise that stops at it, a face softer than its surroundings. So the network is
cut where the receptive field is about a fifth of the crop, and the deeper, more semantic blocks are left out: 0.26 M
parameters of 3.5 M remain, half a megabyte in float16.

Optionally the first layer also sees what upsampling leaves behind: the picture minus its own half-size copy, enlarged.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

SIDE = 160  # pixels, of the network's square input
BLOCKS = (  # (expansion, channels, repeats, stride), as in the paper's table 2, up to stride 16
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
)
FIRST = "features.0.0.weight"  # (32, 3, 3, 3), or (32, 6, 3, 3) with the residual
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB, of ImageNet, on which the blocks were pretrained


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution with padding, batch normalisation, ReLU6."""
    padding = kernel // 2
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU6()]


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
    """Maps crops of a face to the logit of FAKE; `residual`: the first layer sees the upsampling residual, too."""

    def __init__(self, *, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        layers: list[nn.Module] = [nn.Sequential(*conv(6 if residual else 3, 32, 3, stride=2))]  # stride 2
        channels = 32
        for expansion, outputs, repeats, stride in BLOCKS:
            for repeat in range(repeats):
                layers.append(Block(channels, outputs, stride if repeat == 0 else 1, expansion))
                channels = outputs
        self.features = nn.Sequential(*layers)
        self.top = nn.Sequential(*conv(channels, 4 * channels, 1))
        self.dropout = nn.Dropout(0.3)
        self.classify = nn.Linear(4 * channels, 1)
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:  # (n, 3, SIDE, SIDE) RGB, uint8
        """(n,) logits of FAKE."""
        x = (crops.float() - self.mean) / self.std
        if self.residual:
            x = torch.cat([x, upsampling_residual(x)], dim=1)  # (n, 6, SIDE, SIDE)
        x = self.features(x)  # (n, 64, SIDE / 16, SIDE / 16)
        x = self.top(x)  # (n, 256, SIDE / 16, SIDE / 16)
        x = self.dropout(x.mean(dim=(2, 3)))  # (n, 256)
        return self.classify(x).squeeze(1)  # (n,)


def upsampling_residual(x: Tensor) -> Tensor:  # (n, c, h, w), h and w even
    """(n, c, h, w): the difference of each pixel to the first of its 2 x 2 block (after arXiv 2312.10461)."""
    return x - interpolate(x[..., ::2, ::2], scale_factor=2.0, mode="nearest")


def save(state: dict[str, Tensor], path: Path) -> None:
    """Write a state_dict as .npz, float16 except for batch normalisation statistics, atomically."""
    arrays = {name: value.detach().cpu().numpy() for name, value in state.items() if "num_batches" not in name}
    halves = {name: value if "running" in name else value.astype(np.float16) for name, value in arrays.items()}
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        np.savez(file, **halves)
    part.replace(path)


def load(path: Path) -> FaceNet:
    """The network with the weights of `path`, in eval mode. Raises ValueError if they are of another network."""
    with np.load(path, allow_pickle=False) as arrays:
        net = FaceNet(residual=FIRST in arrays and arrays[FIRST].shape[1] == 6)
    load_weights(net, path)
    return net.eval()


def load_weights(net: FaceNet, path: Path) -> None:
    """Load the weights of `path`, which may have only the first blocks. Raises ValueError if one does not fit.

    A first layer of three channels fits a network with the residual: its weights of the other three are 0 then.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays, known = dict(file), net.state_dict()
        if net.residual and FIRST in arrays and arrays[FIRST].shape[1] == 3:
            arrays[FIRST] = np.concatenate([arrays[FIRST], np.zeros_like(arrays[FIRST])], axis=1)
        unfit = [name for name in arrays if name not in known or known[name].shape != arrays[name].shape]
        if unfit:
            raise ValueError(f"{path} was made for another network (see {unfit[0]}). Run train.py again.")
        weights = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays}
        net.load_state_dict(weights, strict=False)
