"""Puts a link in the place of its working folder, so that the harness collects elsewhere."""

from pathlib import Path

from common import attempt, write

write()
here = Path.cwd()
attempt("swap", lambda: (here.rename(f"{here}.old"), here.symlink_to("/etc")))
attempt("remove", here.rmdir)
