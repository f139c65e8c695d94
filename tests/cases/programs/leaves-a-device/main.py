"""submission.csv is a link to /dev/zero, which never ends."""

from pathlib import Path

Path("submission.csv").symlink_to("/dev/zero")
