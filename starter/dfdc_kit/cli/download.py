"""`dfdc download`: the competition's data, resumed after any interruption, and verified."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, SubmissionArgument, err, out, plain, print_json, typed, warn
from dfdc_kit.formatting import format_bytes, format_time, plural

if TYPE_CHECKING:
    from dfdc_kit.cli.progress import TransferScreen
    from dfdc_kit.kaggle.download.ingest import IngestResult
    from dfdc_kit.kaggle.download.parts import PartsDownloaded, PartsPlan
    from dfdc_kit.kaggle.download.sample import SampleDownloaded, SamplePlan
    from dfdc_kit.kaggle.retry import RetryPolicy

app = typer.Typer(
    help="Download the challenge's data; can be resumed.",
    epilog="Example:  `dfdc download sample --dry-run`  shows what would be downloaded.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

ToOption = Annotated[
    Path | None, typer.Option("--to", metavar="DIR", help="Data folder; default: named as the competition at Kaggle.")
]
KeepOption = Annotated[bool, typer.Option("--keep-zip", help="Keep the archives after they are unpacked.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be downloaded, without doing it.")]
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=1, help="Give up a connection after this long without data."),
]


@app.command("sample")
def sample(
    to: ToOption = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="NAME", help="Only this file or pattern, e.g. 'test_videos/a*'."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=16, help="Parallel downloads.")] = 4,
    keep_zip: KeepOption = False,
    timeout: TimeoutOption = 60,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Download the sample: 400 training and 400 test clips, 4.2 GB.

    What Kaggle's API serves, with the sample submission. Needs Kaggle
    credentials and accepted rules. After an interruption, run it again: it
    continues where it stopped. When everything is present, it compares each
    file with its checksum and downloads damaged ones again.

    Examples:

        dfdc download sample
        dfdc download sample --file sample_submission.csv --to data
        dfdc download sample --dry-run
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.files import lock_folder
    from dfdc_kit.kaggle.client import connect
    from dfdc_kit.kaggle.download.fetch import new_transport
    from dfdc_kit.kaggle.download.sample import download_sample, plan_sample

    slug = challenges.load().slug
    to = to or Path(slug)
    with _watched() as (screen, retry, stop):
        kaggle = connect(retry=retry, timeout_s=timeout)
        if dry_run:
            plan = plan_sample(kaggle, slug, to, file or [], screen)
            return print_json(plan) if as_json else _show_sample_plan(plan)
        with lock_folder(to, warn):
            plan = plan_sample(kaggle, slug, to, file or [], screen)
            transport = new_transport(screen, retry, timeout, stop)
            arrived = download_sample(kaggle, plan, transport, jobs=jobs, keep_zip=keep_zip)
    return print_json(arrived) if as_json else _show_sample(arrived)


@app.command("parts")
def parts(
    numbers: Annotated[str, typer.Argument(metavar="PARTS", help="Which of the 50 parts, e.g. 0-3,17.")],
    cookies: Annotated[
        Path | None,
        typer.Option("--cookies", "-c", metavar="FILE", help="cookies.txt with your browser's Kaggle session."),
    ] = None,
    to: ToOption = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=8, help="Parallel downloads.")] = 2,
    keep_zip: KeepOption = False,
    check: Annotated[bool, typer.Option("--check", help="Compare checksums of present files, not only sizes.")] = False,
    url: Annotated[str, typer.Option("--url", metavar="PATTERN", help="URL of the parts, if it has changed.")] = "",
    timeout: TimeoutOption = 60,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Download parts of the full training set, 470 GB in all.

    50 archives of 9 to 11.5 GB. Kaggle's API does not offer them, only the
    website does, so this command needs your browser's session: sign in to
    Kaggle, accept the rules, export the cookies of www.kaggle.com in Netscape
    format (a "cookies.txt" browser extension does that). The file is as good
    as your password: chmod 600 it, and delete it afterwards. It is sent to
    Kaggle only.

    Each archive is unpacked as it arrives, and removed once every file of it
    is verified. Without cookies: download in the browser, then `dfdc data add`.

    Examples:

        dfdc download parts 0 --cookies cookies.txt
        dfdc download parts 0-3,17 --cookies cookies.txt --to /big/dfdc
        dfdc download parts 0-49 --dry-run
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.files import lock_folder
    from dfdc_kit.kaggle.download.fetch import new_transport
    from dfdc_kit.kaggle.download.parts import download_parts, parse_parts, parts_of, plan_parts
    from dfdc_kit.kaggle.download.session import cookies_for

    challenge = challenges.load()
    to = to or Path(challenge.slug)
    known = parts_of(challenge)
    wanted = parse_parts(numbers, challenge.sizes.train_parts)
    if dry_run:
        plan = plan_parts(challenge, to, wanted, jobs=jobs, url=url, deep=check)
        print_json(plan) if as_json else _show_parts_plan(plan)
        return
    jar = cookies_for(cookies, url or known.url)
    with _watched() as (screen, retry, stop), lock_folder(to, warn):
        plan = plan_parts(challenge, to, wanted, jobs=jobs, url=url, deep=check)
        transport = new_transport(screen, retry, timeout, stop)
        arrived = download_parts(challenge, plan, transport, jar, jobs=jobs, keep_zip=keep_zip)
    print_json(arrived) if as_json else _show_parts(arrived)
    warn_incomplete(arrived.unpacked)


@app.command("inputs")
def inputs(submission: SubmissionArgument, timeout: TimeoutOption = 60, as_json: JsonOption = False) -> None:
    """Download what a submission attaches on Kaggle.

    Datasets, outputs of notebooks and models that its submission.toml
    ([[inputs]]) or kernel-metadata.json names and that are not on this machine
    yet. `dfdc run` mounts them below /kaggle/input.

    Examples:

        dfdc download inputs my-detector
    """
    from dfdc_kit.files import cache_folder, hold_lock
    from dfdc_kit.kaggle.client import connect
    from dfdc_kit.kaggle.download.fetch import new_transport
    from dfdc_kit.kaggle.download.inputs import download_inputs
    from dfdc_kit.submission.code import read_code_submission

    code = read_code_submission(submission)
    lock = cache_folder() / "inputs" / ".lock"
    busy = "Another download of inputs is running"
    with _watched() as (screen, retry, stop), hold_lock(lock, busy, "XDG_CACHE_HOME", warn):
        transport = new_transport(screen, retry, timeout, stop)
        kaggle = connect(retry=retry, timeout_s=timeout)
        found = download_inputs(kaggle, code, transport)
    if as_json:
        print_json(found)
        return
    for one in found:
        state = "downloaded" if one.fetched else "here already"
        size = format_bytes(one.size_bytes)
        out.print(f"{one.kind} {plain(one.slug)}: {state}, {size} in {plain(str(one.folder))}", soft_wrap=True)
    if not found:
        out.print(f"{plain(code.name)} attaches nothing")


@contextmanager
def _watched() -> Iterator[tuple["TransferScreen", "RetryPolicy", threading.Event]]:
    """A screen on standard error, a retry policy that reports to it, and an event that ends every wait."""
    import tenacity

    from dfdc_kit.cli.progress import TransferScreen
    from dfdc_kit.kaggle.retry import RetryPolicy

    stop = threading.Event()
    try:
        with TransferScreen(err) as screen:
            yield screen, RetryPolicy(sleep=tenacity.sleep_using_event(stop), info=screen.info), stop
    except KeyboardInterrupt:
        stop.set()
        err.print("Stopped. What has arrived is kept; run the same command again to continue.")
        raise typer.Exit(130) from None


def _show_sample_plan(plan: "SamplePlan") -> None:
    counts: dict[str, int] = {}
    for step in plan.steps:
        counts[step.state] = counts.get(step.state, 0) + 1
    for state, count in sorted(counts.items()):
        out.print(f"{count:>6,} {'file' if count == 1 else 'files'} {state}")
    how = "in one archive" if plan.as_archive else "one by one"
    if plan.missing:
        out.print(f"to download: about {format_bytes(plan.download_bytes)}, {how}, into {plain(str(plan.folder))}")
        if plan.have_bytes:
            out.print(f"{format_bytes(plan.have_bytes)} more are here from an interrupted download")
        out.print(f"disk: at most {format_bytes(plan.needed_bytes)} needed, {format_bytes(plan.free_bytes)} free")
    else:
        out.print("nothing to download")


def _show_sample(arrived: "SampleDownloaded") -> None:
    again = f" ({arrived.refetched} damaged or changed)" if arrived.refetched else ""
    out.print(f"{plural(arrived.kept, 'file')} kept and verified, {arrived.fetched:,} fetched{again}")
    if arrived.unverified:
        out.print(f"{arrived.unverified:,} compared by size only: the server publishes no checksum")
    if arrived.fetched:
        out.print(f"{format_bytes(arrived.transferred_bytes)} in {format_time(arrived.wall_time_s, 2)}")
    out.print(f"  next: dfdc run baselines/frame-stats --data {plain(typed(arrived.folder))}", soft_wrap=True)


def _show_parts_plan(plan: "PartsPlan") -> None:
    for step in plan.steps:
        have = f", {format_bytes(step.have_bytes)} here" if step.have_bytes else ""
        out.print(f"{step.archive}  {step.state}{have}")
    out.print(f"to download: about {format_bytes(plan.download_bytes)}, into {plain(str(plan.folder))}")
    out.print(f"disk: about {format_bytes(plan.needed_bytes)} needed, {format_bytes(plan.free_bytes)} free")


def warn_incomplete(results: "list[IngestResult]") -> None:
    """Warn of archives that lack files; exit code 3 if there are any."""
    incomplete = [result for result in results if result.problem]
    for result in incomplete:
        warn(f"{result.archive}: {result.problem}. The archive is kept; remove it to download it again.")
    if incomplete:
        raise typer.Exit(3)


def _show_parts(arrived: "PartsDownloaded") -> None:
    for part in arrived.unpacked:
        out.print(f"{part.name}: {plural(part.files, 'file')}, {format_bytes(part.size_bytes)}")
    out.print(f"{plural(arrived.kept, 'part')} kept, {len(arrived.unpacked)} unpacked")
    if arrived.transferred_bytes:
        out.print(f"{format_bytes(arrived.transferred_bytes)} in {format_time(arrived.wall_time_s, 2)}")
