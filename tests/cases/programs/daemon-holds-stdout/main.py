"""An orphan keeps the output open and goes on writing: waiting for it to end would never return."""

import os
import time

from common import write

write()
if os.fork() == 0:
    os.setsid()
    for _ in range(600):
        print("still here", flush=True)
        time.sleep(1)
