import csv
import pathlib

INPUT = pathlib.Path("/kaggle/input/deepfake-detection-challenge")
ROWS = list(csv.DictReader((INPUT / "sample_submission.csv").open()))


def write(path, label=0.5):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "label"])
        table.writerows([row["filename"], label] for row in ROWS)


import hashlib

names = {row["filename"] for row in ROWS}
digests = {hashlib.sha256((INPUT / "test_videos" / name).read_bytes()).hexdigest() for name in names}
found = []
for path in pathlib.Path("/kaggle/input").rglob("*"):
    if not path.is_file() or "test_videos" in path.parts or path.name == "sample_submission.csv":
        continue
    content = path.read_bytes()
    if path.name in names or hashlib.sha256(content).hexdigest() in digests:
        found.append(str(path))
    found += [f"{path}: {name}" for name in names if name.encode() in content]
assert not found, found
write("submission.csv")
