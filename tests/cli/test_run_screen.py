"""What the screen of a run shows of the submission's output."""

import io

import pytest
from rich.console import Console

from dfdc_kit.cli.progress import Screen


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b"one\ntwo\n", ["| one", "| two"]),
        (b"from a pseudo-terminal\r\nagain\r\n", ["| from a pseudo-terminal", "| again"]),
        (b"  0%\r 50%\r100%\n", ["| 100%"]),
        (b"  0%\r100%\r\n", ["| 100%"]),
        (b"no end of line", ["| no end of line"]),
    ],
)
def test_screen_shows_the_last_state_of_each_line(output, shown):
    file = io.StringIO()
    with Screen(Console(file=file, width=80), show_output=True) as screen:
        screen.output(output)
    assert [line.rstrip() for line in file.getvalue().splitlines()] == shown


def test_bar_counts_to_the_new_total_when_another_run_begins():
    file = io.StringIO()
    console = Console(file=file, width=120, force_terminal=True, color_system=None)
    with Screen(console, show_output=False) as screen:
        screen.staged(19, 19)
        screen.staged(30, 30)
    assert "30/30" in file.getvalue()
    assert "30/19" not in file.getvalue()


@pytest.mark.parametrize("arguments", [("doctor",), ("profiles",), ("baselines",), ("data", "status", "SAMPLE")])
def test_piped_output_has_no_blanks_at_the_ends_of_lines(dfdc, sample, arguments):
    done = dfdc(*(sample if word == "SAMPLE" else word for word in arguments))
    assert done.stdout
    assert not [line for line in done.stdout.splitlines() if line != line.rstrip(" ")]
