"""1,500 nested folders: more than a recursive program can walk."""

import os
from pathlib import Path

from common import write

write()
for _ in range(1500):
    Path("d").mkdir()
    os.chdir("d")
