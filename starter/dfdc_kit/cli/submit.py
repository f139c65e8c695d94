"""`dfdc submit`: submit code to Kaggle and wait for its score; the screen meanwhile."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table

from dfdc_kit.cli.check import warn_of_findings
from dfdc_kit.cli.console import (
    BackendOption,
    InputOption,
    JsonOption,
    RunsOption,
    SubmissionArgument,
    err,
    out,
    plain,
    print_json,
    print_rows,
    say,
    warn,
)
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.kaggle.submit.attempt import SubmitAttempt
    from dfdc_kit.kaggle.submit.dry_run import DryRun
    from dfdc_kit.kaggle.submit.request import SubmitRequest
    from dfdc_kit.kaggle.submit.submit import SubmitServices


def submit(
    submission: SubmissionArgument,
    message: Annotated[
        str,
        typer.Option(
            "--message", "-m", metavar="TEXT", help="Description shown by Kaggle; default: the submission's name."
        ),
    ] = "",
    profile: Annotated[
        str,
        typer.Option(
            "--profile", "-p", metavar="NAME", help="Hosted runtime; default: today's, with a GPU if declared."
        ),
    ] = "",
    accelerator: Annotated[
        str,
        typer.Option("--accelerator", metavar="NAME", help="Kaggle's accelerator name, e.g. NvidiaTeslaT4."),
    ] = "",
    slug: Annotated[
        str,
        typer.Option("--slug", metavar="NAME", help="Name of the notebook at Kaggle; default: dfdc-NAME."),
    ] = "",
    rehearse: Annotated[
        bool | None,
        typer.Option(
            "--rehearse/--no-rehearsal", help="If this code has not passed a rehearsal: rehearse now, or skip it."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", metavar="DIR", help="Data for the local run; default: the bundled sample."),
    ] = None,
    backend: BackendOption = "",
    inputs: InputOption = None,
    untested_here: Annotated[
        str,
        typer.Option("--untested-here", metavar="REASON", help="Submit code that cannot run here, e.g. no GPU."),
    ] = "",
    again: Annotated[bool, typer.Option("--again", help="Submit code that was submitted before once more.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Submit without asking, for scripts.")] = False,
    poll: Annotated[
        float, typer.Option("--poll", metavar="SECONDS", min=0.01, help="Time between two status requests.")
    ] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show every request without sending any.")] = False,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Submit code to Kaggle and wait for its score.

    Checks the code here, runs it as a notebook at Kaggle, submits what that run
    wrote, and waits. If interrupted at any point, run the same command again to
    continue; a submission is never used twice.

    Examples:

        dfdc submit my-detector --dry-run
        dfdc submit my-detector --rehearse --message "larger crops"
        dfdc submit my-detector --yes --json > result.json
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.errors import UsageError
    from dfdc_kit.kaggle.submit.checks import RehearsalPolicy
    from dfdc_kit.kaggle.submit.dry_run import dry_run as plan_calls
    from dfdc_kit.kaggle.submit.request import submit_request
    from dfdc_kit.kaggle.submit.submit import submit_code
    from dfdc_kit.submission.code import read_code_submission
    from dfdc_kit.submission.external_data import parse_input_options

    request = submit_request(
        read_code_submission(submission, parse_input_options(inputs or [])),
        challenges.load(),
        profile_name=profile,
        accelerator=accelerator,
        slug=slug,
        message=message,
        untested_here=untested_here,
    )
    warn_of_findings(request.submission, request.profile_name)
    policy = {None: RehearsalPolicy.REQUIRE, True: RehearsalPolicy.NOW, False: RehearsalPolicy.SKIP}[rehearse]
    if dry_run:
        planned = plan_calls(request, runs, policy)
        return print_json(planned) if as_json else _show_plan(planned)
    if not yes and not sys.stdin.isatty():
        raise UsageError("No terminal to confirm on.", hint="Add --yes to submit without asking.")
    with SubmitScreen(err if as_json else out, yes=yes) as screen:
        try:
            services = _services(request, data, backend, runs, poll, screen)
            attempt = submit_code(request, runs, policy, services, again=again)
        except KeyboardInterrupt:
            screen.info("Stopped. Run the same command again to continue.")
            raise typer.Exit(130) from None
    return print_json(attempt) if as_json else _show(attempt)


def _services(
    request: "SubmitRequest", data: Path | None, backend: str, runs: Path, poll_s: float, screen: "SubmitScreen"
) -> "SubmitServices":
    """Kaggle, local runs and rehearsals, each started only when it is needed."""
    from dfdc_kit.cli.progress import Screen
    from dfdc_kit.data.dataset import find_dataset
    from dfdc_kit.files import bundled
    from dfdc_kit.harness.rehearsal.record import RehearsalReport
    from dfdc_kit.harness.rehearsal.rehearse import rehearse as run_rehearsal
    from dfdc_kit.harness.run import run as run_submission
    from dfdc_kit.kaggle.submit.context import Host, PollPolicy
    from dfdc_kit.kaggle.submit.request import rehearsal_request, run_request
    from dfdc_kit.kaggle.submit.submit import SubmitServices
    from dfdc_kit.report.run_report import RunReport
    from dfdc_kit.sandbox import choose

    def host() -> Host:
        from dfdc_kit.kaggle.client import connect
        from dfdc_kit.kaggle.retry import RetryPolicy
        from dfdc_kit.kaggle.submit.kaggle_host import KaggleHost

        return KaggleHost(connect(retry=RetryPolicy(info=screen.status)))

    def run_now() -> RunReport:
        screen.info("running it here first")
        local = run_request(request, find_dataset(data or bundled("sample_data"), request.challenge))
        with Screen(screen.console, show_output=False) as listener:
            return run_submission(local, choose(backend, request.profile), runs, listener, warn)

    def rehearse_now() -> RehearsalReport:
        local = rehearsal_request(request, find_dataset(bundled("sample_data"), request.challenge))
        with Screen(screen.console, show_output=False) as listener:
            return run_rehearsal(local, choose(backend, request.profile), runs, listener, warn, screen.rehearsing)

    return SubmitServices(
        host=host, ui=screen, poll=PollPolicy(poll_s=poll_s), warn=warn, run_now=run_now, rehearse_now=rehearse_now
    )


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


def _show(attempt: "SubmitAttempt") -> None:
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
    from dfdc_kit.files import bundled

    if attempt.local_score is None or attempt.local_rows is None:
        return "no labels, not scored"
    if Path(attempt.local_data).is_relative_to(bundled("sample_data")):
        return f"{plural(attempt.local_rows, 'video')} of the bundled sample: says nothing about a detector"
    return f"{plural(attempt.local_rows, 'video')} of {attempt.local_data}"


def _show_plan(plan: "DryRun") -> None:
    """Every call in order, and what would be sent."""
    out.print(f"{plain(plan.submission)}: nothing was sent.\n", soft_wrap=True)
    rows = [("local run", plan.run or "none of this code yet; made first", "")]
    rows.append(("rehearsal", plan.rehearsal or "none of this code yet", ""))
    rows += [("refused", plan.refusal, "yellow")] if plan.refusal else []
    rows += [("earlier", plan.earlier, "")] if plan.earlier else []
    print_rows([*rows, *(("warning", warning, "yellow") for warning in plan.warnings)])
    out.print("\n[bold]calls, in this order[/] (status calls are repeated)")
    calls = []
    for number, call in enumerate(plan.calls, 1):
        arguments = ", ".join(f"{name}={value}" for name, value in call.arguments.items() if value is not None)
        calls.append((f"{number:>2}  {call.method}", arguments, ""))
    print_rows(calls)
    out.print("\n[bold]kernel-metadata.json[/]")
    for name, value in plan.kernel_metadata.items():
        out.print(f"  {name}: {plain(json.dumps(value))}", soft_wrap=True)
    if plan.dataset_files:
        out.print(f"\n[bold]dataset[/], {plural(len(plan.dataset_files), 'file')} in one archive")
        say(plain(", ".join(plan.dataset_files)), indent=2)


def _score(value: float | None) -> str:
    from dfdc_kit.scoring.metric import displayed

    return "not shown" if value is None else displayed(value)
