"""A crash in native code."""

import ctypes

ctypes.string_at(0)
