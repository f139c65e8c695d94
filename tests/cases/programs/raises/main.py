"""Raises an uncaught exception."""

from common import write

write()
raise RuntimeError("no such model")
