"""What `dfdc --help` costs beside a bare typer + rich program: run with  pytest tests/benchmarks --benchmark-only"""

import subprocess
import sys

import pytest

BARE = """
from typing import Annotated
import typer
import rich.console
app = typer.Typer(rich_markup_mode="rich", help="A bare program.")
@app.command()
def one(name: Annotated[str, typer.Argument(help="A name.")], loud: bool = False) -> None:
    "One."
@app.command()
def two() -> None:
    "Two."
app()
"""
PROGRAMS = {"bare": ["-c", BARE, "--help"], "dfdc": ["-m", "dfdc_kit", "--help"]}
medians: dict[str, float] = {}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.benchmark(group="help")
def test_help(benchmark, program):
    command = [sys.executable, *PROGRAMS[program]]
    benchmark.pedantic(
        subprocess.run, (command,), {"stdout": subprocess.DEVNULL, "check": True}, rounds=15, warmup_rounds=2
    )
    medians[program] = benchmark.stats.stats.median
    if len(medians) == len(PROGRAMS):
        ratio = medians["dfdc"] / medians["bare"]
        benchmark.extra_info["ratio_to_bare"] = ratio
        sys.stdout.write(f"\ndfdc --help costs {ratio:.2f} times a bare typer + rich program (medians)\n")
