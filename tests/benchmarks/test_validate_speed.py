"""Validating 14,000, a million and ten million rows, against pandas reading the same file without looking at it.

Run: pytest tests/benchmarks --benchmark-only -s
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dfdc_kit import challenge as challenges
from dfdc_kit.submission.expected_rows import ExpectedRows
from dfdc_kit.submission.validate import validate

TIMES_PANDAS = 8  # at most: pandas reads, and checks nothing
MEMORY_BYTES = 2 << 30
HUGE = 10_000_000


def write(folder: Path, rows: int, shuffled: bool = False) -> tuple[Path, Path]:
    """A submission and its sample, `rows` rows with different names of 14 letters and labels of 6 decimals."""
    random = np.random.default_rng(0)
    labels = random.integers(1, 10**6, rows)
    submission, sample = folder / "submission.csv", folder / "sample_submission.csv"
    order = random.permutation(rows) if shuffled else np.arange(rows)
    with submission.open("wb") as file, sample.open("wb") as other:
        file.write(b"filename,label\n")
        other.write(b"filename,label\n")
        for first in range(0, rows, 100_000):
            here = order[first : first + 100_000]
            pairs = zip(names(here), labels[here].tolist(), strict=True)
            file.writelines([b"%s.mp4,0.%06d\n" % pair for pair in pairs])
            other.writelines([b"%s.mp4,0\n" % name for name in names(np.arange(first, first + len(here)))])
    return submission, sample


def names(numbers: np.ndarray) -> list[bytes]:
    """Numbers (n,) in base 26, as ten letters."""
    digits = numbers[:, None] // 26 ** np.arange(9, -1, -1) % 26  # (n, 10)
    return (digits + ord("a")).astype(np.uint8).view("S10").ravel().tolist()


def seconds(call, rounds: int = 5) -> float:
    """The median wall time of a call."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


@pytest.mark.parametrize("rows", [14_000, 1_000_000])
def test_against_plain_pandas(benchmark, tmp_path, rows):
    """Both in one run, on one machine: a ratio, so a slow machine does not make it fail."""
    import pandas as pd

    submission, sample = write(tmp_path, rows)
    expected = ExpectedRows.from_path(sample, challenges.load())
    validation, _ = benchmark.pedantic(validate, (submission, challenges.load(), expected), rounds=5, warmup_rounds=1)
    ours_s = benchmark.stats.stats.median
    pandas_s = seconds(lambda: pd.read_csv(submission))
    benchmark.extra_info.update(rows=rows, ours_s=ours_s, pandas_s=pandas_s, ratio=ours_s / pandas_s)
    print(f"\n{rows:,} rows: {ours_s * 1000:.1f} ms, pandas.read_csv alone {pandas_s * 1000:.1f} ms")
    assert validation.violations == []
    assert ours_s <= TIMES_PANDAS * pandas_s


def test_whole_command(benchmark, tmp_path):
    """14,000 rows, start-up included, against what it takes to import pandas and read the file."""
    submission, sample = write(tmp_path, 14_000)
    command = [sys.executable, "-m", "dfdc_kit", "validate", str(submission), "--against", str(sample)]
    plain = [sys.executable, "-c", f"import pandas; pandas.read_csv({str(submission)!r})"]

    def run(arguments: list[str]) -> None:
        subprocess.run(arguments, capture_output=True, check=True)

    benchmark.pedantic(run, (command,), rounds=5, warmup_rounds=1)
    ours_s, pandas_s = benchmark.stats.stats.median, seconds(lambda: run(plain))
    benchmark.extra_info.update(ours_s=ours_s, pandas_s=pandas_s)
    print(f"\nwhole command: {ours_s:.3f} s, import pandas and read {pandas_s:.3f} s")
    assert ours_s < 2 * pandas_s


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("shuffled", [False, True], ids=["in-order", "shuffled"])
def test_ten_million_rows_fit_into_memory(benchmark, tmp_path, shuffled):
    """The peak of the command's own process: VmHWM, for ru_maxrss begins at what the parent held."""
    submission, sample = write(tmp_path, HUGE, shuffled)
    code = (
        "import atexit, re, sys, pathlib; from dfdc_kit.cli import main\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "atexit.register(lambda: sys.stderr.write(re.search(r'VmHWM:\\s+(\\d+)', status.read_text())[1]))\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "validate", str(submission), "--against", str(sample)]
    run = benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "text": True}, rounds=1)
    assert run.returncode == 0
    peak_bytes = int(run.stderr) * 1024
    benchmark.extra_info.update(rows=HUGE, peak_memory_bytes=peak_bytes, file_bytes=submission.stat().st_size)
    print(f"\n{HUGE:,} rows: {benchmark.stats.stats.median:.1f} s, peak {peak_bytes / 2**20:.0f} MiB")
    assert peak_bytes <= MEMORY_BYTES
