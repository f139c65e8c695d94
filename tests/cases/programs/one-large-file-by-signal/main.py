"""The same in a program that dies of SIGXFSZ, as C programs do."""

import signal
from pathlib import Path

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
Path("large").write_bytes(bytes(100 << 20))
