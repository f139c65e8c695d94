"""The screen of `dfdc submit`: steps, what is being waited for, the hosted log, the question, the result."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table

from dfdc_kit.cli.console import out, plain
from dfdc_kit.files import bundled
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.kaggle.submit.attempt import SubmitAttempt
    from dfdc_kit.kaggle.submit.dry_run import DryRun


class SubmitScreen:
    """The `SubmitUI`. On a terminal it shows a spinner while waiting; otherwise it writes plain lines."""

    def __init__(self, console: Console, *, yes: bool) -> None:
        self.console = console
        self._yes = yes
        self._live: Live | None = None
        self._status = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_waiting()

    def info(self, text: str) -> None:
        """Something that was done or found."""
        self._stop_waiting()
        self.console.print(f"[dim]*[/] {plain(text)}")

    def status(self, text: str) -> None:
        """What is being waited for; without a terminal it is printed once, until it changes."""
        if text == self._status:
            return
        self._status = text
        if not self.console.is_terminal:
            self.console.print(f"[dim]...[/] {plain(text)}")
            return
        spinner = Spinner("dots", plain(text))
        if self._live is None:  # standard output stays as it is: calls of Kaggle's client mute it in turns
            self._live = Live(
                spinner, console=self.console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        else:
            self._live.update(spinner)

    def log(self, text: str) -> None:
        """What the hosted run has printed."""
        for line in text.splitlines():
            self.console.print(f"[dim]|[/] {plain(line)}", soft_wrap=True)

    def confirm(self, question: str, /) -> bool:
        """Whether the user agrees; with --yes, without asking."""
        self._stop_waiting()
        if self._yes:
            self.info(f"{question} Yes (--yes).")
            return True
        return typer.confirm(question, err=self.console.stderr)

    def rehearsing(self, what: str, videos: int, limit_s: float) -> None:
        """A run of the rehearsal starts."""
        self.info(f"rehearsing: {what}, {plural(videos, 'video')}, at most {limit_s:.0f} s")

    def _stop_waiting(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live, self._status = None, ""


def show(attempt: "SubmitAttempt") -> None:
    """The result: official and local score."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row("official", f"[bold]{_score(attempt.official_score)}[/]", "public leaderboard")
    if attempt.private_score is not None:
        table.add_row("", _score(attempt.private_score), "private leaderboard")
    table.add_row("local", _score(attempt.local_score), plain(_local_data(attempt)))
    table.add_row("submission", plain(attempt.reference), plain(f"{attempt.kernel}, version {attempt.kernel_version}"))
    out.print(f"\n[bold]{plain(attempt.submission)}[/]: [bold green]{plain(attempt.outcome)}[/]")
    out.print(Padding(table, (0, 0, 0, 2)))
    out.print("  next: dfdc history --kind submission", soft_wrap=True)


def _local_data(attempt: "SubmitAttempt") -> str:
    """What the local score was measured on."""
    if attempt.local_score is None or attempt.local_rows is None:
        return "no labels, not scored"
    if Path(attempt.local_data).is_relative_to(bundled("sample_data")):
        return f"{plural(attempt.local_rows, 'video')} of the bundled sample: says nothing about a detector"
    return f"{plural(attempt.local_rows, 'video')} of {attempt.local_data}"


def show_plan(plan: "DryRun") -> None:
    """Every call in order, and what would be sent."""
    out.print(f"{plain(plan.submission)}: nothing was sent.\n")
    out.print(f"local run   {plain(plan.run or 'none of this code yet; made first')}", soft_wrap=True)
    out.print(f"rehearsal   {plain(plan.rehearsal or 'none of this code yet')}", soft_wrap=True)
    if plan.refusal:
        out.print(f"[yellow]refused[/]     {plain(plan.refusal)}", soft_wrap=True)
    if plan.earlier:
        out.print(f"earlier     {plain(plan.earlier)}", soft_wrap=True)
    for warning in plan.warnings:
        out.print(f"[yellow]warning[/]     {plain(warning)}", soft_wrap=True)
    out.print("\n[bold]calls, in this order[/] (status calls are repeated)")
    width = max(len(call.method) for call in plan.calls)
    for number, call in enumerate(plan.calls, 1):
        arguments = ", ".join(f"{name}={value}" for name, value in call.arguments.items() if value is not None)
        out.print(f"{number:>2}  {call.method:<{width}}  {plain(arguments)}", soft_wrap=True)
    out.print("\n[bold]kernel-metadata.json[/]")
    for name, value in plan.kernel_metadata.items():
        out.print(f"  {name}: {plain(json.dumps(value))}", soft_wrap=True)
    if plan.dataset_files:
        out.print(f"\n[bold]dataset[/], {plural(len(plan.dataset_files), 'file')} in one archive")
        out.print(f"  {plain(', '.join(plan.dataset_files))}", soft_wrap=True)


def _score(value: float | None) -> str:
    from dfdc_kit.scoring.metric import displayed

    return "not shown" if value is None else displayed(value)
