"""Fills files after unlinking them: no folder shows them."""

import tempfile
import time

held = [tempfile.TemporaryFile() for _ in range(32)]  # noqa: SIM115  # held to the end
for file in held:
    file.write(bytes(1 << 20))
    file.flush()
time.sleep(5)
