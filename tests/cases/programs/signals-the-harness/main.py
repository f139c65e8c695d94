"""May it send signals to the harness? Signal 0 asks without sending."""

import os

from common import PLACES, attempt, write

attempt("signal", lambda: os.kill(PLACES["harness_pid"], 0))
write()
