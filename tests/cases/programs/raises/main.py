"""An exception that nobody catches."""

from common import write

write()
raise RuntimeError("no such model")
