import glob
import os

import cv2
import pandas as pd

DATA = os.environ["DFDC_INPUT_DIR"]


def other(*names):
    return os.path.join(os.path.dirname(DATA), *names)


def first_frame(capture: cv2.VideoCapture | None):
    assert isinstance(capture, cv2.VideoCapture)
    return capture.read()[1]


for _ in range(100):
    assert not cv2.VideoCapture(other("clips", "a.mp4")).isOpened()
assert cv2.imread(other("pictures", "mean.png")) is None
assert cv2.CascadeClassifier(other("cascades", "frontal.xml")).empty()
sample = pd.read_csv(os.path.join(DATA, "sample_submission.csv"))
videos = sorted(glob.glob(os.path.join(DATA, "test_videos", "*.mp4")))
means = {os.path.basename(path): first_frame(cv2.VideoCapture(path)).mean() / 255 for path in videos}
sample["label"] = sample["filename"].map(means).clip(0.1, 0.9)
sample.to_csv("submission.csv", index=False)
