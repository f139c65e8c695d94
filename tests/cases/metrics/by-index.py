"""pandas aligns by index, whatever the ids say."""

from pathlib import Path

exec((Path(__file__).parent / "sound.py").read_text())


def match(solution, submission, row_id):
    frame = solution[["label"]].join(submission[["label"]], lsuffix="_truth")
    return frame["label_truth"].to_numpy(float), frame["label"].to_numpy(float)
