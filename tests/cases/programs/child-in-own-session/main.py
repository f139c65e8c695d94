"""A child leaves the session, parent and child hang."""

import os
import time

if os.fork() == 0:
    os.setsid()
time.sleep(600)
