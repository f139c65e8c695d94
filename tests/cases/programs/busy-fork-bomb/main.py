"""Children that keep forking: at most 300 processes, for at most 3 s."""

import os
import time

end = time.monotonic() + 3
made = 0
while made < 8 and time.monotonic() < end:
    if os.fork() == 0:
        os.setsid()
    made += 1
while time.monotonic() < end:
    pass
