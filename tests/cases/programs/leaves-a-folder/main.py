"""submission.csv is a folder."""

from pathlib import Path

Path("submission.csv").mkdir()
