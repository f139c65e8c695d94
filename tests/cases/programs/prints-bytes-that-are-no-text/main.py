"""Bytes that are not UTF-8."""

import os

from common import write

os.write(1, bytes(range(256)) + b"\xff\xfe\n")
write()
