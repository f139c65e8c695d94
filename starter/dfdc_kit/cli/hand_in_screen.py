"""What a person sees of a hand-in: each step as a line, a waiting sign, the hosted log, the question, the result."""

import json
from typing import TYPE_CHECKING, Self

import typer
from rich.console import Console
from rich.padding import Padding
from rich.status import Status
from rich.table import Table

from dfdc_kit.cli.console import out, plain

if TYPE_CHECKING:
    from dfdc_kit.handin.plan import Plan
    from dfdc_kit.handin.record import HandIn


class HandInScreen:
    """The teller of a hand-in. On a terminal it shows what is waited for; into a file it writes plain lines."""

    def __init__(self, console: Console, *, yes: bool) -> None:
        self.console = console
        self._yes = yes
        self._status: Status | None = None
        self._waiting_for = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_waiting()

    def say(self, text: str) -> None:
        """One sentence about what was done or found."""
        self._stop_waiting()
        self.console.print(f"[dim]*[/] {plain(text)}", soft_wrap=True)

    def waiting(self, text: str) -> None:
        """What is being waited for; into a file it is written once, until it changes."""
        if text == self._waiting_for:
            return
        self._waiting_for = text
        if not self.console.is_terminal:
            self.console.print(f"[dim]...[/] {plain(text)}", soft_wrap=True)
        elif self._status is None:
            self._status = self.console.status(plain(text))
            self._status.start()
        else:
            self._status.update(plain(text))

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
        self.say(f"rehearsing: {what}, {videos} videos, at most {limit_s:.0f} s")

    def _stop_waiting(self) -> None:
        if self._status is not None:
            self._status.stop()
        self._status, self._waiting_for = None, ""


def show(hand_in: "HandIn") -> None:
    """The result: official beside local score."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row("official", f"[bold]{_score(hand_in.official_score)}[/]", "public leaderboard")
    if hand_in.private_score is not None:
        table.add_row("", _score(hand_in.private_score), "private leaderboard")
    over = f"over {hand_in.local_rows} videos of {hand_in.local_data}" if hand_in.local_rows else ""
    table.add_row("local", _score(hand_in.local_score), plain(over))
    table.add_row("submission", plain(hand_in.reference), plain(f"{hand_in.kernel}, version {hand_in.kernel_version}"))
    out.print(f"\n[bold]{plain(hand_in.submission)}[/]: [bold green]{plain(hand_in.over)}[/]")
    out.print(Padding(table, (0, 0, 0, 2)))
    out.print("  next: dfdc history --kind hand-in   or   dfdc leaderboard --place SCORE", soft_wrap=True)


def show_plan(plan: "Plan") -> None:
    """Every call that would be made, in order, and what stands in the notebook's metadata."""
    run = f"rests on {plan.run}" if plan.run else "would be made first"
    rehearsal = f"rests on {plan.rehearsal}" if plan.rehearsal else "none of this code: --rehearse or --no-rehearsal"
    out.print(f"{plain(plan.submission)}: nothing was sent.\n")
    out.print(f"run here    {plain(run)}\nrehearsal   {plain(rehearsal)}", soft_wrap=True)
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
