"""`dfdc rehearse`: run a code submission as the hidden rerun would, on inputs that broke reruns of the challenge."""

from pathlib import Path
from typing import Annotated

import typer

from dfdc_kit.cli.check import warn_of_findings
from dfdc_kit.cli.console import (
    DEFAULT_PROFILE,
    BackendOption,
    InputOption,
    JsonOption,
    ProfileOption,
    RequireOption,
    RunsOption,
    SubmissionArgument,
    err,
    out,
    plain,
    print_json,
    wanted,
    warn,
)
from dfdc_kit.formatting import plural

MAX_LIMIT_S = 1e9
EXIT_CODES = {"passed": 0, "failed": 1, "not-reproducible": 3, "interrupted": 130}


def rehearse(
    submission: SubmissionArgument,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", metavar="DIR", help="Ordinary clips to start from; default: the bundled sample."),
    ] = None,
    videos: Annotated[
        int | None,
        typer.Option("--videos", "-n", metavar="N", help="Number of ordinary clips in the first run (hard links)."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CODE", help="Only this hard input; can be repeated. Default: all."),
    ] = None,
    profile: ProfileOption = DEFAULT_PROFILE,
    backend: BackendOption = "",
    require: RequireOption = "",
    attached: InputOption = None,
    limit: Annotated[
        float | None,
        typer.Option(
            "--limit",
            metavar="SECONDS",
            help="Time after which a run counts as hanging; default: from the ordinary clips.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed for names, order and random bytes.")] = 0,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Run a submission on hard inputs, as the hidden rerun might.

    Other file names, another number of videos, broken and unusual videos, the
    same input twice, another order. Hard inputs are generated: empty,
    truncated, without index, random bytes, without sound or picture, one
    frame, rotated, 15 fps, variable rate, small, odd sizes, 4K, long, black,
    no person, two people, HEVC, unusual names. Exit code 1 if it fails.

    Examples:

        dfdc rehearse baselines/frame-stats
        dfdc rehearse my-detector --only zero-bytes --only garbage --limit 30
        dfdc rehearse my-detector --videos 4000 --profile kaggle-2020-cpu
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit import profiles
    from dfdc_kit.cli.progress import Screen
    from dfdc_kit.cli.rehearsal_summary import show
    from dfdc_kit.data.dataset import find_dataset
    from dfdc_kit.errors import UsageError
    from dfdc_kit.files import bundled
    from dfdc_kit.harness.rehearsal.hard_inputs import select
    from dfdc_kit.harness.rehearsal.rehearse import RehearsalRequest
    from dfdc_kit.harness.rehearsal.rehearse import rehearse as run_rehearsal
    from dfdc_kit.sandbox import choose
    from dfdc_kit.submission.code import read_code_submission
    from dfdc_kit.submission.external_data import parse_input_options

    if limit is not None and not 0 < limit < MAX_LIMIT_S:
        raise UsageError(f"--limit {limit:g}: expected a number of seconds above 0.", hint="For example: --limit 30")
    challenge = challenges.load()
    request = RehearsalRequest(
        submission=read_code_submission(submission, parse_input_options(attached or [])),
        clips=find_dataset(data or bundled("sample_data"), challenge).videos,
        challenge=challenge,
        profile_name=profile,
        profile=profiles.load(profile),
        videos=videos,
        limit_s=limit,
        seed=seed,
        inputs=select(only or []),
    )
    warn_of_findings(request.submission, profile)
    console = err if as_json else out

    def announce(what: str, videos: int, limit_s: float) -> None:
        console.print(f"[dim]run:[/] {plain(what)}, {plural(videos, 'video')}, time limit {limit_s:.0f} s")

    with Screen(console, show_output=False) as screen:
        chosen_backend = choose(backend, request.profile, wanted(require), warn)
        report = run_rehearsal(request, chosen_backend, runs, screen, warn, announce)
    if as_json:
        print_json(report)
    else:
        show(report, runs / report.rehearsal_id)
    raise typer.Exit(EXIT_CODES[report.outcome])
