"""Installs packages in the ways of public submissions."""

import os
import subprocess
import sys
from pathlib import Path

packages = Path(__file__).resolve().parent / "packages"
subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", packages / "tinydet-1.0-py3-none-any.whl"])
os.system(f"pip install --quiet --no-deps {packages}/six-1.0-py3-none-any.whl")
subprocess.run(f"pip3 install --quiet --no-index --find-links {packages} olddet", shell=True, check=True)
index = subprocess.run(["pip", "install", "facenet-pytorch"], check=False)

import olddet  # noqa: E402
import six  # noqa: E402
import tinydet  # noqa: E402

print("installed:", tinydet.VALUE, six.VALUE, olddet.VALUE)
assert index.returncode != 0
