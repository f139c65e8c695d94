"""Replaces its working folder with a link, so that the harness would collect elsewhere."""

from pathlib import Path

from common import attempt, write

write()
here = Path.cwd()
attempt("swap", lambda: (here.rename(f"{here}.old"), here.symlink_to("/etc")))
attempt("remove", here.rmdir)
