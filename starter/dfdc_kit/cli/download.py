"""`dfdc download`: the competition's data, resumed after any interruption, and verified."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, err, out, plain, print_json, shown
from dfdc_kit.formatting import format_bytes, format_time, plural

if TYPE_CHECKING:
    from dfdc_kit.cli.progress import TransferScreen
    from dfdc_kit.kaggle.download.parts import PartsDownloaded, PartsPlan
    from dfdc_kit.kaggle.download.sample import SampleDownloaded, SamplePlan
    from dfdc_kit.kaggle.retry import RetryPolicy

app = typer.Typer(
    help="Download the challenge's data; resumes after an interruption.",
    epilog="Example:  `dfdc download sample --dry-run`  shows what would be downloaded.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

ToOption = Annotated[Path, typer.Option("--to", metavar="DIR", help="Data folder.")]
KeepOption = Annotated[bool, typer.Option("--keep-zip", help="Keep the archives after they are unpacked.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be downloaded, without doing it.")]
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=1, help="Give up a connection after this long without data."),
]
HERE = Path("deepfake-detection-challenge")


@app.command("sample")
def sample(
    to: ToOption = HERE,
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
    from dfdc_kit.kaggle import connect
    from dfdc_kit.kaggle.download.sample import download_sample, plan_sample
    from dfdc_kit.kaggle.download.session import new_wire

    slug = challenges.load().slug
    with _watched() as (screen, patience, stop):
        kaggle = connect(patience=patience, timeout_s=timeout)
        if dry_run:
            plan = plan_sample(kaggle, slug, to, file or [], screen)
            return print_json(plan) if as_json else _show_sample_plan(plan)
        with lock_folder(to):
            plan = plan_sample(kaggle, slug, to, file or [], screen)
            wire = new_wire(screen, patience, timeout, stop)
            arrived = download_sample(kaggle, plan, wire, jobs=jobs, keep_zip=keep_zip)
    return print_json(arrived) if as_json else _show_sample(arrived)


@app.command("parts")
def parts(
    numbers: Annotated[str, typer.Argument(metavar="PARTS", help="Which of the 50 parts, e.g. 0-3,17.")],
    cookies: Annotated[
        Path | None,
        typer.Option("--cookies", "-c", metavar="FILE", help="cookies.txt with your browser's Kaggle session."),
    ] = None,
    to: ToOption = HERE,
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
    from dfdc_kit.kaggle.download.parts import download_parts, parse_parts, parts_of, plan_parts
    from dfdc_kit.kaggle.download.session import lent_cookies, new_wire

    challenge = challenges.load()
    known = parts_of(challenge)
    wanted = parse_parts(numbers, challenge.sizes.train_parts)
    if dry_run:
        plan = plan_parts(challenge, to, wanted, jobs=jobs, url=url, deep=check)
        return print_json(plan) if as_json else _show_parts_plan(plan)
    jar = lent_cookies(cookies, url or known.url)
    with _watched() as (screen, patience, stop), lock_folder(to):
        plan = plan_parts(challenge, to, wanted, jobs=jobs, url=url, deep=check)
        wire = new_wire(screen, patience, timeout, stop)
        arrived = download_parts(challenge, plan, wire, jar, jobs=jobs, keep_zip=keep_zip)
    return print_json(arrived) if as_json else _show_parts(arrived)


@contextmanager
def _watched() -> Iterator[tuple["TransferScreen", "RetryPolicy", threading.Event]]:
    """A screen on standard error, a patience that tells it what it waits for, and a stop that ends every wait."""
    from dfdc_kit.cli.progress import TransferScreen
    from dfdc_kit.kaggle.retry import RetryPolicy

    stop = threading.Event()
    try:
        with TransferScreen(err) as screen:
            yield screen, RetryPolicy(sleep=lambda wait_s: bool(stop.wait(wait_s)), say=screen.said), stop
    except KeyboardInterrupt:
        stop.set()
        err.print("Interrupted. What has arrived is kept: run the same command again to go on.")
        raise


def _show_sample_plan(plan: "SamplePlan") -> None:
    counts: dict[str, int] = {}
    for step in plan.steps:
        counts[step.state] = counts.get(step.state, 0) + 1
    for state, count in sorted(counts.items()):
        out.print(f"{count:>6,} file{'' if count == 1 else 's'} {state}")
    how = "in one archive" if plan.as_archive else "one by one"
    if plan.missing:
        out.print(f"to fetch: about {format_bytes(plan.download_bytes)}, {how}, into {plain(str(plan.folder))}")
        if plan.have_bytes:
            out.print(f"{format_bytes(plan.have_bytes)} more are here already, from an interrupted download")
        out.print(f"disk: {format_bytes(plan.needed_bytes)} needed at most, {format_bytes(plan.free_bytes)} free")
    else:
        out.print("nothing to fetch")


def _show_sample(arrived: "SampleDownloaded") -> None:
    again = f" ({arrived.refetched} of them damaged or changed before)" if arrived.refetched else ""
    out.print(f"{plural(arrived.kept, 'file')} kept and verified, {arrived.fetched:,} fetched{again}")
    if arrived.unverified:
        out.print(f"{arrived.unverified:,} could be compared by size only: the server publishes no digest of them")
    if arrived.fetched:
        out.print(f"{format_bytes(arrived.transferred_bytes)} in {format_time(arrived.wall_time_s, 2)}")
    out.print(f"next: dfdc run baselines/frame-stats --data {plain(str(shown(arrived.folder)))}")


def _show_parts_plan(plan: "PartsPlan") -> None:
    for step in plan.steps:
        have = f", {format_bytes(step.have_bytes)} here" if step.have_bytes else ""
        out.print(f"{step.archive}  {step.state}{have}")
    out.print(f"to fetch: about {format_bytes(plan.download_bytes)}, into {plain(str(plan.folder))}")
    out.print(f"disk: about {format_bytes(plan.needed_bytes)} needed, {format_bytes(plan.free_bytes)} free")


def _show_parts(arrived: "PartsDownloaded") -> None:
    for taken in arrived.taken_in:
        out.print(f"{taken.holds}: {plural(taken.files, 'file')}, {format_bytes(taken.size_bytes)}")
    out.print(f"{plural(arrived.kept, 'part')} kept, {len(arrived.taken_in)} taken in")
    if arrived.transferred_bytes:
        out.print(f"{format_bytes(arrived.transferred_bytes)} in {format_time(arrived.wall_time_s, 2)}")
