"""Files, pipes and sockets that the harness forgot to close."""

from pathlib import Path

from common import write

for handle in list(Path("/proc/self/fd").iterdir()):
    if int(handle.name) > 2 and handle.exists():
        print("ESCAPED: handle", handle.name, handle.readlink())
write()
