"""Looks for tokens in its own environment and in that of its first process."""

import os
from pathlib import Path

from common import PLACES, write

seen = dict(os.environ)
print("ESCAPED: token" if PLACES["token"] in str(seen) or "KAGGLE_API_TOKEN" in seen else "held: token")
for pid in (1, os.getppid()):
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        continue
    print("ESCAPED: token" if PLACES["token"].encode() in content else "held: token")
write()
