"""File names with line feeds, escape codes and bytes that are not text."""

import os
from pathlib import Path

from common import write

write()
for name in (b"a\nb", b"\x1b[2J", b"\xff\xfe", b"-rf", b"$(id)"):
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
Path("closed").mkdir(mode=0)
