"""Progress of transfers: bars on a terminal, a line every few seconds when piped."""

import io
import re

import pytest
from rich.console import Console

from dfdc_kit.cli import progress
from dfdc_kit.cli.progress import TransferScreen
from dfdc_kit.formatting import format_bytes

MIB = 1 << 20


def piped() -> Console:
    return Console(file=io.StringIO(), width=80)


def test_large_file_gets_lines_with_bytes_rate_and_remaining_time_when_piped(monkeypatch):
    clock = iter([0.0, 20.0, 25.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    console = piped()
    with TransferScreen(console) as screen:
        screen.started("a.zip", 20 * MIB, 100 * MIB)
        screen.advanced("a.zip", 40 * MIB)
        screen.advanced("a.zip", MIB)  # 5 s later: no line
        screen.advanced("a.zip", MIB)
        screen.ended("a.zip")
        screen.advanced("a.zip", MIB)  # after its end: ignored
    assert console.file.getvalue().splitlines() == [
        "a.zip: 100 MiB, continuing at 20.0 MiB",
        "a.zip: 60.0 MiB of 100 MiB (60%), 20 s left, 2.0 MiB/s",
        "a.zip: 62.0 MiB of 100 MiB (62%), 36 s left, 1.1 MiB/s",
    ]


def test_small_files_get_no_lines_when_piped():
    console = piped()
    with TransferScreen(console) as screen:
        for number in range(100):
            screen.started(f"{number}.mp4", 0, MIB)
            screen.advanced(f"{number}.mp4", MIB)
            screen.ended(f"{number}.mp4")
        screen.info("The server asks to wait.")
    assert console.file.getvalue() == "The server asks to wait.\n"


def test_terminal_gets_bars_within_its_width_and_escapes_names():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with TransferScreen(console) as screen:
        screen.started("evil\x1b[2J[red].zip", 0, 100 * MIB)
        screen.advanced("evil\x1b[2J[red].zip", 50 * MIB)
    shown = console.file.getvalue()
    assert "50.0/100.0 MiB" in shown
    assert "\x1b[2J[" not in shown
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", shown).splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (5000, "4.9 KiB"),
        (4.2e9, "3.9 GiB"),
        (471.84e9, "439 GiB"),
        (5e12, "4,657 GiB"),
    ],
)
def test_format_bytes_has_three_digits_and_a_unit(count_bytes, text):
    assert format_bytes(count_bytes) == text
