"""Writes 0.5 for every row. Tests append lines that use `names`, `folder`, `write` and `opened`."""

import os
import pathlib

folder = pathlib.Path(os.environ["DFDC_INPUT_DIR"])
names = [row.split(",")[0] for row in (folder / "sample_submission.csv").read_text().split()[1:]]


def write(label="0.5"):
    lines = ["filename,label", *(f"{name},{label}" for name in names)]
    pathlib.Path("submission.csv").write_text("\n".join(lines) + "\n")


def opened(name):
    return (folder / "test_videos" / name).open("rb")


write()
