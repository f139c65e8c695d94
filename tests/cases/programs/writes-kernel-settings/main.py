"""Opens settings of the whole machine for writing, and writes nothing."""

import os

from common import attempt, write

for name in (
    "sys/kernel/core_pattern",
    "sys/vm/drop_caches",
    "sysrq-trigger",
    "sys/kernel/hostname",
    "self/oom_score_adj",
):
    if name != "self/oom_score_adj":
        attempt(name, lambda name=name: os.close(os.open(f"/proc/{name}", os.O_WRONLY)))
write()
