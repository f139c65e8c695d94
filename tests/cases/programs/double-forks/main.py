"""Leaves a daemon behind: two forks, a session of its own."""

import os
import time

from common import write

write()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
