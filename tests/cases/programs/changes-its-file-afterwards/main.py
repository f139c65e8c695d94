"""An orphan rewrites the submission as soon as its parent has gone."""

import os

from common import write

write()
parent = os.getpid()
if os.fork() == 0:
    os.setsid()
    while os.getppid() == parent:
        pass
    write("0.9")
    for _ in range(100_000):
        write("nan")
