"""submission.csv leads to a device that never ends."""

from pathlib import Path

Path("submission.csv").symlink_to("/dev/zero")
