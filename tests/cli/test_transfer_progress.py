"""What a person sees while files arrive: bars on a terminal, a line now and then where it is piped."""

import io
import re

import pytest
from rich.console import Console

from dfdc_kit.cli import progress
from dfdc_kit.cli.progress import TransferScreen
from dfdc_kit.formatting import duration, format_bytes

MIB = 1 << 20


def piped() -> Console:
    return Console(file=io.StringIO(), width=80)


def test_a_large_file_gets_lines_with_bytes_rate_and_remaining_time(monkeypatch):
    clock = iter([0.0, 20.0, 25.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    console = piped()
    with TransferScreen(console) as screen:
        screen.started("a.zip", 20 * MIB, 100 * MIB)
        screen.advanced("a.zip", 40 * MIB)
        screen.advanced("a.zip", MIB)  # five seconds later: no line
        screen.advanced("a.zip", MIB)
        screen.ended("a.zip")
        screen.advanced("a.zip", MIB)  # too late: not shown, no fault
    assert console.file.getvalue().splitlines() == [
        "a.zip: 100 MiB, going on at 20.0 MiB",
        "a.zip: 60.0 MiB of 100 MiB (60%), 20 s left, 2.0 MiB/s",
        "a.zip: 62.0 MiB of 100 MiB (62%), 36 s left, 1.1 MiB/s",
    ]


def test_small_files_get_none(monkeypatch):
    console = piped()
    with TransferScreen(console) as screen:
        for number in range(100):
            screen.started(f"{number}.mp4", 0, MIB)
            screen.advanced(f"{number}.mp4", MIB)
            screen.ended(f"{number}.mp4")
        screen.said("The server asks to wait.")
    assert console.file.getvalue() == "The server asks to wait.\n"


def test_a_terminal_gets_bars_that_fit_and_names_without_escapes():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with TransferScreen(console) as screen:
        screen.started("evil\x1b[2J[red].zip", 0, 100 * MIB)
        screen.advanced("evil\x1b[2J[red].zip", 50 * MIB)
        screen._progress.refresh()
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
def test_amounts(count_bytes, text):
    assert format_bytes(count_bytes) == text


@pytest.mark.parametrize(("wall_time_s", "text"), [(0.2, "0 s"), (99, "99 s"), (180, "3 min"), (9000, "2.5 h")])
def test_durations(wall_time_s, text):
    assert duration(wall_time_s) == text
