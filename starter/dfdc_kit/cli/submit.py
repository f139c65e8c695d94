"""`dfdc submit`: submit code to Kaggle and wait for its score."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.check import warn_of_findings
from dfdc_kit.cli.console import (
    BackendOption,
    InputOption,
    JsonOption,
    RunsOption,
    SubmissionArgument,
    err,
    out,
    print_json,
    warn,
)

if TYPE_CHECKING:
    from dfdc_kit.cli.submit_screen import SubmitScreen
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
    from dfdc_kit.cli.submit_screen import SubmitScreen, show, show_plan
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
        return print_json(planned) if as_json else show_plan(planned)
    if not yes and not sys.stdin.isatty():
        raise UsageError("No terminal to confirm on.", hint="Add --yes to submit without asking.")
    with SubmitScreen(err if as_json else out, yes=yes) as screen:
        try:
            services = _services(request, data, backend, runs, poll, screen)
            attempt = submit_code(request, runs, policy, services, again=again)
        except KeyboardInterrupt:
            screen.info("Stopped. The same command continues from here.")
            raise
    return print_json(attempt) if as_json else show(attempt)


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
        from dfdc_kit.kaggle import connect
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
