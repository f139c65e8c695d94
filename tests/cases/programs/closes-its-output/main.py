"""Closes standard input, output and errors, then goes on."""

import os

from common import write

write()
for handle in (0, 1, 2):
    os.close(handle)
