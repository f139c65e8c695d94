"""Writes a good file and says that it failed."""

import sys

from common import write

write()
sys.exit(3)
