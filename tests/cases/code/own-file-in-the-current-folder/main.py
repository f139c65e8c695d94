"""Runs where it was written: a repository whose programs start in its folder."""

import sys

sys.path.insert(0, "./src")
import tracker  # noqa: F401
