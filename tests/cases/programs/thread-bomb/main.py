"""300 threads in one process."""

import threading
import time

for _ in range(300):
    threading.Thread(target=time.sleep, args=(3,), daemon=True).start()
time.sleep(3)
