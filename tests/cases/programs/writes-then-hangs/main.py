"""Writes a good file, then never ends: on the host there is no score for that."""

import time

from common import write

write()
time.sleep(600)
