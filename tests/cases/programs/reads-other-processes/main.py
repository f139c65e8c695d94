"""Reads environment, memory, files and root of the harness through /proc."""

import os
from pathlib import Path

from common import PLACES, attempt, write

pids = {PLACES["harness_pid"]}
FIRST = ("bwrap", "catatonit", "docker-init", "podman-init", "tini")  # of the program's own namespace: nobody else's
if Path("/proc/1/comm").read_text().strip() not in FIRST:
    pids |= {os.getppid(), 1}
for pid in pids:
    for name in ("environ", "mem", "maps"):
        attempt(f"{pid} {name}", lambda pid=pid, name=name: os.read(os.open(f"/proc/{pid}/{name}", os.O_RDONLY), 1))
    attempt(f"{pid} root", lambda pid=pid: list(Path(f"/proc/{pid}/root").iterdir()))
    attempt(f"{pid} handle", Path(f"/proc/{pid}/fd/0").readlink)
write()
