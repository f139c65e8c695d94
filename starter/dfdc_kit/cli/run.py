"""`dfdc run`: run a code submission as the hosted machine would, and say what its score would be."""

from pathlib import Path
from typing import Annotated

import typer

from dfdc_kit.cli.console import (
    DEFAULT_PROFILE,
    BackendOption,
    JsonOption,
    ProfileOption,
    RequireOption,
    RunsOption,
    SubmissionArgument,
    err,
    out,
    print_json,
    wanted,
    warn,
)


def run(
    submission: SubmissionArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", "-d", metavar="DIR", help="Challenge data or a folder of videos; default: the bundled sample."
        ),
    ] = None,
    solution: Annotated[
        Path | None,
        typer.Option("--solution", "-s", metavar="PATH", help="Ground truth to score against, if it is not in DIR."),
    ] = None,
    profile: ProfileOption = DEFAULT_PROFILE,
    backend: BackendOption = "",
    require: RequireOption = "",
    runs: RunsOption = Path("runs"),
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Stop as soon as the hidden test cannot fit into the time limit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Hide what the submission prints.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a submission under Kaggle's limits, validate and score it.

    Exit code 0: complete and valid; 1: the submission is at fault.

    Examples:

        dfdc run baselines/frame-stats
        dfdc run my-detector --data ~/deepfake-detection-challenge
        dfdc run my-detector --profile kaggle-2020-cpu
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit import profiles
    from dfdc_kit.cli.progress import Screen
    from dfdc_kit.cli.run_summary import show
    from dfdc_kit.data.dataset import find_dataset, sample_mismatch
    from dfdc_kit.files import bundled
    from dfdc_kit.harness.request import RunRequest
    from dfdc_kit.harness.run import run as run_submission
    from dfdc_kit.report.verdicts import MEANINGS
    from dfdc_kit.sandbox import choose
    from dfdc_kit.submission.code import read_code_submission

    challenge = challenges.load()
    request = RunRequest(
        submission=read_code_submission(submission),
        dataset=find_dataset(data or bundled("sample_data"), challenge, solution),
        challenge=challenge,
        profile_name=profile,
        profile=profiles.load(profile),
        stop_early=stop_early,
    )
    if told := sample_mismatch(request.dataset, challenge):
        warn(told)
    with Screen(err if as_json else out, show_output=not (quiet or as_json)) as screen:
        report = run_submission(request, choose(backend, request.profile, wanted(require)), runs, screen, warn)
    if as_json:
        print_json(report)
    else:
        show(report, runs / report.run_id)
    raise typer.Exit(MEANINGS[report.judgement.verdict].exit_code)
