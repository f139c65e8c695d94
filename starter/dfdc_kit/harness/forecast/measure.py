"""Measures a machine: 1080p H.264 decoding on one core and on all cores, and a matrix product.

Imports only the standard library, numpy and PyAV: its text is also the notebook that measures the hosted machine.
"""

import io
import json
import os
import platform
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FRAMES, WIDTH, HEIGHT, RATE = 90, 1920, 1080, 30
BITS_PER_S = 4_000_000  # a video of the challenge: 10 s in about 5 MB
ROUNDS = 3
SIDE = 1024  # of the matrices
SCHEMA_VERSION = 1
OUT = "dfdc-calibration.json"


def measure() -> dict[str, Any]:
    """The calibration of this machine, ready for JSON. Takes about 10 s. Raises ImportError without PyAV."""
    import av
    import numpy as np

    clip = make_clip()
    cores = usable_cores()
    return {
        "schema_version": SCHEMA_VERSION,
        "decode_frames_per_s_core": max(_decode_cpu(clip) for _ in range(ROUNDS)),
        "decode_frames_per_s_all": max(_decode_all(clip, cores) for _ in range(ROUNDS)),
        "matmul_gflop_per_s": max(_multiply() for _ in range(ROUNDS + 1)),  # the first one warms up
        "cores": cores,
        "cpu": cpu_name(),
        "gpu": gpu_name(),
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), "av": av.__version__, "numpy": np.__version__},
        "clip_bytes": len(clip),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": "measured",
    }


def make_clip() -> bytes:
    """A 1080p H.264 clip in MP4: moving texture and a moving square, at the bit rate of the challenge's videos."""
    import av
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 24, (HEIGHT + FRAMES, WIDTH + 2 * FRAMES), dtype=np.uint8)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    still = (128 + 50 * np.sin(x / 37) + 40 * np.cos(y / 23)).astype(np.uint8)  # (height, width)
    options = {"preset": "veryfast", "b": str(BITS_PER_S), "g": "250", "bf": "2", "threads": "2"}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)  # luma above, grey chroma below
        for at in range(FRAMES):
            planes[:HEIGHT] = still + noise[at : at + HEIGHT, 2 * at : 2 * at + WIDTH] // 2
            planes[300:780, 600 + 3 * at : 1000 + 3 * at] = noise[100:580, at : at + 400] * 6 + 40
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name, as far as the system reports it."""
    info = Path("/proc/cpuinfo")
    if info.is_file() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text("utf-8"), re.MULTILINE)):
        return found.group(1).strip()
    return platform.processor() or platform.machine()


def gpu_name() -> str:
    """The name of the first NVIDIA GPU; empty if there is none."""
    for info in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        if found := re.search(r"^Model:\s*(.+)$", info.read_text("utf-8"), re.MULTILINE):
            return found.group(1).strip()
    return ""


def _decode(clip: bytes) -> int:
    """Decode every frame in one thread; how many there were."""
    import av

    with av.open(io.BytesIO(clip), "r") as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "NONE", 1
        frames: Any = container.decode(stream)
        return len([None for _ in frames])


def _decode_cpu(clip: bytes) -> float:
    """Frames by CPU second: other programs on the machine hardly count."""
    started = time.process_time()
    return _decode(clip) / (time.process_time() - started)


def _decode_all(clip: bytes, cores: int) -> float:
    """Frames by second of wall time, one decoder on each core."""
    threads = [threading.Thread(target=_decode, args=(clip,)) for _ in range(cores)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return cores * FRAMES / (time.perf_counter() - started)


def _multiply() -> float:
    """Float32 GFLOP/s of a matrix product on all cores."""
    import numpy as np

    left = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    started = time.perf_counter()
    left @ left
    return float(2 * SIDE**3 / 1e9 / (time.perf_counter() - started))


if __name__ == "__main__":
    found = json.dumps(measure(), indent=2)
    Path(OUT).write_text(found + "\n", encoding="utf-8")
    print(found)
