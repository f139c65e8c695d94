"""How fast this machine and the hosted one are: measured, kept in the user's cache folder, read back; never guessed."""

import io
import json
import math
import os
import platform
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import DataError, DataMissingError, KitError, OutputError, UsageError
from dfdc_kit.files import PACKAGE, cache_folder, write_json
from dfdc_kit.settings import Settings, read_toml

SCHEMA_VERSION = 1
HERE, HOSTED = "calibration.json", "hosted.json"  # in the cache folder
CONSTANTS = PACKAGE / "harness" / "forecast" / "hosted.toml"
MEASURE = PACKAGE / "harness" / "forecast" / "measure.py"


class Calibration(Settings, frozen=True, kw_only=True):
    """One machine, as `measure.py` measured it."""

    schema_version: int
    decode_frames_per_s_core: float  # 1080p H.264, one thread, by CPU time
    decode_frames_per_s_all: float  # one decoder on each core, by wall time
    matmul_gflop_per_s: float  # float32, all cores
    cores: int
    cpu: str
    gpu: str  # empty: none
    system: str
    versions: dict[str, str]
    clip_bytes: int
    measured: str  # ISO 8601
    source: str


class CpuConstant(Settings, frozen=True, kw_only=True):
    """What is assumed of a hosted core while nobody has measured it."""

    core_speed: tuple[float, float]
    source: str
    as_of: str


class VideoConstant(Settings, frozen=True, kw_only=True):
    """The typical test video."""

    frames: int
    source: str
    as_of: str


class GpuConstant(Settings, frozen=True, kw_only=True):
    """One kind of GPU, [least, most] over its variants."""

    single_tflop_per_s: tuple[float, float]
    half_tflop_per_s: tuple[float, float]
    memory_gb_per_s: tuple[float, float]
    source: str
    as_of: str


class Constants(Settings, frozen=True, kw_only=True):
    """The published constants, from hosted.toml."""

    cpu: CpuConstant
    video: VideoConstant
    gpu: dict[str, GpuConstant]


def constants() -> Constants:
    """The published constants, each with source and date."""
    return read_toml(CONSTANTS, Constants)


def calibrate() -> Calibration:
    """Measure this machine; about 10 s. Raises KitError where PyAV cannot encode or decode H.264."""
    hint = "pip install --force-reinstall av"
    try:
        import av
    except ImportError as error:
        raise KitError(f"PyAV cannot be imported: {error}", hint=hint) from error
    try:
        return msgspec.convert(measure(), Calibration)
    except av.FFmpegError as error:
        raise KitError(f"This machine cannot encode or decode H.264: {error}", hint=hint) from error


def keep(calibration: Calibration, name: str = HERE) -> Path:
    """Keep a calibration as `name` in the cache folder; where it lies. Raises OutputError."""
    path = cache_folder() / name
    try:
        write_json(path, calibration)
    except OutputError as fault:
        raise OutputError(str(fault), hint="Set XDG_CACHE_HOME to a folder that can be written.") from fault
    return path


def kept_here() -> Calibration | None:
    """What was measured on this machine; None if nothing was, or the file comes from another machine."""
    found = _kept(HERE)
    same = found is not None and (found.cpu, found.cores) == (cpu_name(), usable_cores())
    return found if same else None


def kept_hosted() -> Calibration | None:
    """What the calibration notebook measured on the hosted machine; None if it was not given yet."""
    return _kept(HOSTED)


def read(path: Path) -> Calibration:
    """Read a calibration, as the notebook writes it. Raises DataMissingError or DataError."""
    if not path.is_file():
        raise DataMissingError(
            f"There is no calibration {path}.", hint="Write the notebook: dfdc calibrate --notebook FILE"
        )
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except msgspec.DecodeError as error:
        raise DataError(
            f"{path} is not a calibration: {error}", hint="Use the JSON that the notebook wrote."
        ) from error
    rates = (found.decode_frames_per_s_core, found.decode_frames_per_s_all, found.matmul_gflop_per_s, found.cores)
    if found.schema_version != SCHEMA_VERSION or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise DataError(
            f"{path}: a rate is not above 0, or the schema version is not {SCHEMA_VERSION}.",
            hint="Use the JSON that the notebook wrote.",
        )
    return found


def write_notebook(path: Path) -> None:
    """Write the notebook (nbformat 4) that measures the machine it runs on. Raises UsageError, OutputError."""
    if path.exists():
        raise UsageError(f"{path} is there already; nothing was changed.", hint="Choose another name.")
    intro = (
        "# Calibration of the hosted machine\n\n"
        "Run all cells on the machine and accelerator that will judge, save the output `" + OUT + "` and give "
        "it to the kit: `dfdc calibrate --use " + OUT + "`.\n\n"
        "Needs numpy and PyAV, no internet, no data, about a minute. If `import av` fails, switch the internet on for "
        "this notebook only and run `%pip install av` first."
    )
    cells = [_cell("markdown", "about", intro), _cell("code", "measure", MEASURE.read_text("utf-8"))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}
    write_json(path, notebook)


def _cell(kind: str, name: str, source: str) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _kept(name: str) -> Calibration | None:
    path = cache_folder() / name
    return read(path) if path.is_file() else None


FRAMES, WIDTH, HEIGHT, RATE = 90, 1920, 1080, 30
BITS_PER_S = 4_000_000  # a video of the challenge: 10 s in about 5 MB
ROUNDS = 3
SIDE = 1024  # of the matrices
OUT = "dfdc-calibration.json"


def measure() -> dict[str, Any]:
    """The calibration of this machine, ready for JSON. Takes about 10 s. Raises ImportError without PyAV."""
    import av
    import numpy as np

    clip = make_clip()
    cores = usable_cores()
    return {
        "schema_version": 1,
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
    """The processor's name, as far as the system tells it."""
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
