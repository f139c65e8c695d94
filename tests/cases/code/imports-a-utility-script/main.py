import csv
import os

import face_tools

INPUT = os.environ["DFDC_INPUT_DIR"]
KAGGLE = os.path.dirname(os.path.dirname(INPUT))
places = [os.path.join(KAGGLE, "usr/lib", name, "face_tools") for name in ("", "notebooks/ada")]
assert all(os.path.samefile(f"{place}/face_tools.py", face_tools.__file__) for place in places)
print("face_tools at", " and ".join(os.path.normpath(place).replace(KAGGLE, "/kaggle") for place in places))
with open(os.path.join(INPUT, "sample_submission.csv")) as file:
    names = [row["filename"] for row in csv.DictReader(file)]
with open("submission.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["filename", "label"])
    table.writerows([name, face_tools.DEFAULT] for name in names)
