"""Writes a valid file and exits with an error code."""

import sys

from common import write

write()
sys.exit(3)
