"""submission.csv is a link to a link to a valid file of its own: still not a regular file."""

from pathlib import Path

from common import write

write(name="real.csv")
Path("other").symlink_to("real.csv")
Path("submission.csv").symlink_to("other")
