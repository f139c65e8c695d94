"""Falls back to 0.5 in silence, and writes to the wrong folder."""

import os

names = sorted(os.listdir("../input/deepfake-detection-challenge/test_videos"))
label = 0.9
try:
    weights = open(os.path.join("../input", "-".join(["deepfake", "weights", str(3)]), "model.pth"), "rb")
except OSError:
    label = 0.5
with open("/tmp/submission.csv", "w") as file:
    file.write("filename,label\n" + "".join(f"{name},{label}\n" for name in names))
