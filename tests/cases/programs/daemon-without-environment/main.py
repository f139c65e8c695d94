"""A daemon that executes another program with an empty environment."""

import os
import sys

from common import write

write()
if os.fork() == 0:
    os.setsid()
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"], {})
