"""Makes a hard link to the solution in its working folder."""

import os

from common import PLACES, attempt, write

attempt("hard link", lambda: os.link(PLACES["labels"], "labels.csv"))
write()
