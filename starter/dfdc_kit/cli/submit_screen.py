"""What a person sees of a hand-in: each step as a line, a waiting sign, the hosted log, the question, the result."""

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


class HandInScreen:
    """The teller of a hand-in. On a terminal it shows what is waited for; into a file it writes plain lines."""

    def __init__(self, console: Console, *, yes: bool) -> None:
        self.console = console
        self._yes = yes
        self._live: Live | None = None
        self._waiting_for = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_waiting()

    def say(self, text: str) -> None:
        """One sentence about what was done or found."""
        self._stop_waiting()
        self.console.print(f"[dim]*[/] {plain(text)}")

    def waiting(self, text: str) -> None:
        """What is being waited for; into a file it is written once, until it changes."""
        if text == self._waiting_for:
            return
        self._waiting_for = text
        if not self.console.is_terminal:
            self.console.print(f"[dim]...[/] {plain(text)}")
            return
        spinner = Spinner("dots", plain(text))
        if self._live is None:  # standard output stays as it is: the seam to Kaggle's client mutes it by turns
            self._live = Live(
                spinner, console=self.console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        else:
            self._live.update(spinner)

    def printed(self, text: str) -> None:
        """What the hosted run has printed."""
        for line in text.splitlines():
            self.console.print(f"[dim]|[/] {plain(line)}", soft_wrap=True)

    def agreed(self, question: str, /) -> bool:
        """Whether the person agrees; with --yes, they have."""
        self._stop_waiting()
        if self._yes:
            self.say(f"{question} Yes, as asked by --yes.")
            return True
        return typer.confirm(question, err=self.console.stderr)

    def rehearsing(self, what: str, videos: int, limit_s: float) -> None:
        """A run of the rehearsal begins."""
        self.say(f"rehearsing: {what}, {plural(videos, 'video')}, at most {limit_s:.0f} s")

    def _stop_waiting(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live, self._waiting_for = None, ""


def show(hand_in: "SubmitAttempt") -> None:
    """The result: official beside local score."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row("official", f"[bold]{_score(hand_in.official_score)}[/]", "public leaderboard")
    if hand_in.private_score is not None:
        table.add_row("", _score(hand_in.private_score), "private leaderboard")
    table.add_row("local", _score(hand_in.local_score), plain(_local(hand_in)))
    table.add_row("submission", plain(hand_in.reference), plain(f"{hand_in.kernel}, version {hand_in.kernel_version}"))
    out.print(f"\n[bold]{plain(hand_in.submission)}[/]: [bold green]{plain(hand_in.over)}[/]")
    out.print(Padding(table, (0, 0, 0, 2)))
    out.print("  next: dfdc history --kind hand-in   or   dfdc leaderboard --place SCORE", soft_wrap=True)


def _local(hand_in: "SubmitAttempt") -> str:
    """What the local score was measured on."""
    if hand_in.local_score is None or hand_in.local_rows is None:
        return "no truth was at hand"
    if Path(hand_in.local_data).is_relative_to(bundled("sample_data")):
        return f"{plural(hand_in.local_rows, 'video')} of the bundled sample: says nothing about a detector"
    return f"{plural(hand_in.local_rows, 'video')} of {hand_in.local_data}"


def show_plan(plan: "DryRun") -> None:
    """Every call that would be made, in order, and what stands in the notebook's metadata."""
    run = f"rests on {plan.run}" if plan.run else "would be made first"
    rehearsal = f"rests on {plan.rehearsal}" if plan.rehearsal else "none of this code: --rehearse or --no-rehearsal"
    out.print(f"{plain(plan.submission)}: nothing was sent.\n")
    out.print(f"run here    {plain(run)}\nrehearsal   {plain(rehearsal)}", soft_wrap=True)
    if plan.earlier:
        out.print(f"before      {plain(plan.earlier)}", soft_wrap=True)
    for doubt in plan.doubts:
        out.print(f"[yellow]doubt[/]       {plain(doubt)}", soft_wrap=True)
    out.print("\n[bold]calls, in this order[/] (asked again until done: status calls)")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for at, call in enumerate(plan.calls, 1):
        given = ", ".join(f"{name}={value}" for name, value in call.given.items() if value is not None)
        table.add_row(str(at), plain(call.method), plain(given))
    out.print(table)
    out.print("\n[bold]kernel-metadata.json[/]")
    for name, value in plan.kernel_metadata.items():
        out.print(f"  {name}: {plain(json.dumps(value))}", soft_wrap=True)
    if plan.data_set_files:
        out.print("\n[bold]data set[/]")
        out.print(f"  {plain(', '.join(plan.data_set_files))}", soft_wrap=True)


def _score(value: float | None) -> str:
    from dfdc_kit.scoring.metric import displayed

    return "none shown" if value is None else displayed(value)
