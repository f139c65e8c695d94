"""The blocks of network.py in PyTorch, for a GPU, with the weights in blocks.onnx."""

import cv2
import numpy as np
import torch
from network import BLOCKS, CHANNELS
from torch import Tensor, nn

STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1)  # of each block
BYTES_PER_CROP = 24 << 20  # of activations, two views of 160 x 160 pixels in float32
MOST_CROPS = 256


class Block(nn.Module):
    """Inverted residual: expand, depthwise convolution, project; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        wide = [nn.Conv2d(inputs, hidden, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden)
        self.conv = nn.Sequential(*wide, depthwise, nn.ReLU6(), nn.Conv2d(hidden, outputs, 1))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:  # (n, inputs, h, w)
        """(n, outputs, h / stride, w / stride)."""
        return x + self.conv(x) if self.adds else self.conv(x)


class TorchBlocks:
    """See `network.Blocks`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device.type
        stem, inputs = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6()), (32, *CHANNELS)
        blocks = [Block(inputs[n], CHANNELS[n], STRIDES[n], expansion=6 if n else 1) for n in range(len(CHANNELS))]
        self.layers = nn.ModuleList([stem, *blocks]).eval()
        stored = cv2.dnn.readNetFromONNX(str(BLOCKS))
        names = [name for name in stored.getLayerNames() if stored.getLayer(name).type == "Convolution"]
        convolutions = [layer for layer in self.layers.modules() if isinstance(layer, nn.Conv2d)]
        for name, layer in zip(names, convolutions, strict=True):
            for n, parameter in enumerate((layer.weight, layer.bias)):
                values = torch.from_numpy(stored.getParam(name, n)).reshape(parameter.shape)
                parameter.data.copy_(values)
        self.layers.to(device, memory_format=torch.channels_last)

    def batch(self) -> int:
        """The largest power of two that fits into half of the GPU's free memory, at most MOST_CROPS."""
        free_bytes, _ = torch.cuda.mem_get_info()
        return max(2, min(MOST_CROPS, 1 << int(np.log2(max(free_bytes / 2 / BYTES_PER_CROP, 2)))))

    def __call__(self, views: np.ndarray) -> list[np.ndarray]:
        """See `network.Blocks`."""
        outputs: list[np.ndarray] = []
        with torch.inference_mode():
            x = torch.from_numpy(views).to(self.device, memory_format=torch.channels_last)
            for n, layer in enumerate(self.layers):
                x = layer(x)
                if n:
                    outputs.append(x.cpu().numpy())
        return outputs


def cuda_blocks() -> TorchBlocks | None:
    """The blocks on a GPU; None if PyTorch finds none."""
    return TorchBlocks(torch.device("cuda")) if torch.cuda.is_available() else None
