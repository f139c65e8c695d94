import os
import pandas as pd
INPUT = os.environ["DFDC_INPUT_DIR"]
sub = pd.read_csv(f"{INPUT}/sample_submission.csv")
rows = len(sub)
share = (rows
    % 7)
print("!ls", "%matplotlib inline", "%s rows" % rows, share)
sub["label"] = 0.5
sub.to_csv("submission.csv", index=False)
