"""submission.csv is a pipe that nobody writes to: reading it blocks forever."""

import os

os.mkfifo("submission.csv")
