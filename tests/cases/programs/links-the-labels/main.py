"""A hard link to the truth in its working folder."""

import os

from common import PLACES, attempt, write

attempt("hard link", lambda: os.link(PLACES["labels"], "labels.csv"))
write()
