"""Its weights are in a data set that is not attached here."""

from pathlib import Path

weights = Path("/kaggle/input/detector-weights/model.txt").read_text()
