"""Reserves 64 GiB of address space and uses none of it, as CUDA does: allowed."""

import mmap

from common import write

kept = mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
write()
