import csv
import os
import subprocess
from pathlib import Path

PREDICT = Path(__file__).parent / "bin" / "predict"
with open(os.path.join(os.environ["DFDC_INPUT_DIR"], "sample_submission.csv")) as file:
    names = [row["filename"] for row in csv.DictReader(file)]
label = float(subprocess.run([PREDICT], capture_output=True, text=True, check=True).stdout)
with open("submission.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["filename", "label"])
    table.writerows([name, label] for name in names)
