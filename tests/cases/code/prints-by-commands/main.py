import os
import pandas as pd
INPUT = os.environ["DFDC_INPUT_DIR"]
sub = pd.read_csv(f"{INPUT}/sample_submission.csv")
sub["label"] = 0.5
sub.to_csv("submission.csv", index=False)
import pty

try:
    pty.spawn(["echo", "from a terminal"])
except OSError as error:
    raise SystemExit(f"no pseudo-terminal: {error}")
