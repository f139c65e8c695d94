"""Checks with signal 0 whether it may send signals to the harness."""

import os

from common import PLACES, attempt, write

attempt("signal", lambda: os.kill(PLACES["harness_pid"], 0))
write()
