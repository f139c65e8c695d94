"""`dfdc data`: labels, splits and the state of the challenge's data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, err, out, plain, print_json, warn
from dfdc_kit.cli.download import HERE, KeepOption, ToOption
from dfdc_kit.formatting import format_bytes, plural

if TYPE_CHECKING:
    from dfdc_kit.data.integrity import FolderStatus, StatusReport, VerifyReport
    from dfdc_kit.data.split_files import SplitReport
if TYPE_CHECKING:
    from dfdc_kit.kaggle.download.ingest import IngestResult


SHOWN = 20  # problems; all are in --json
CURRENT_FOLDER = Path()

data = typer.Typer(
    help="Labels, splits and the state of the challenge's data.",
    epilog="Example:  `dfdc data split ~/deepfake-detection-challenge`",
    no_args_is_help=True,
)

PathsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="PATH...", help="Metadata files, or folders with metadata, directly or one level down."),
]

FolderArgument = Annotated[Path, typer.Argument(metavar="[DIR]", help="Data folder; default: the current one.")]


@data.command("labels")
def labels(
    paths: PathsArgument,
    to: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="CSV to write.")] = Path("solution.csv"),
    as_json: JsonOption = False,
) -> None:
    """Write a solution CSV from metadata (1 is FAKE).

    Examples:

        dfdc data labels train_sample_videos --out solution.csv
        dfdc data labels dfdc_train_part_0 dfdc_train_part_1/metadata.json
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.data.catalogue import write_labels

    report = write_labels(paths, to, challenges.load())
    if as_json:
        return print_json(report)
    sources = plural(len(report.sources), "file")
    out.print(f"{plural(report.rows, 'video')}, {report.fake:,} FAKE and {report.real:,} REAL, from {sources}")
    if report.stood_twice:
        out.print(f"{report.stood_twice:,} of them stand in more than one file, each time with the same label")
    out.print(f"[bold green]WRITTEN[/]: {plain(report.path)}", soft_wrap=True)
    return None


@data.command("split")
def split(
    paths: PathsArgument,
    to: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")] = Path("split"),
    share: Annotated[float, typer.Option("--share", help="Share of the videos for validation.")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the split.")] = 0,
    by: Annotated[
        str,
        typer.Option("--by", metavar="GROUP", help="Group by part, original, or auto (by part where known)."),
    ] = "auto",
    balance: Annotated[
        bool, typer.Option("--balance", help="As many FAKE as REAL in each set; the rest is unused.")
    ] = False,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Closest to --share; videos may move when more data arrives.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Split into training and validation by original.

    No original and none of its fakes is in both. The same seed gives the same
    split, and no video moves when more data arrives. DIR/split.csv lists every
    video; DIR/train is a training folder, DIR/validation is for `dfdc run
    --data`. Videos are linked, not copied.

    Examples:

        dfdc data split ~/deepfake-detection-challenge --share 0.2
        dfdc data split train_sample_videos --out fold-1 --seed 1 --balance
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.data.split import SplitPlan
    from dfdc_kit.data.split_files import make_split

    report = make_split(paths, to, SplitPlan(share, seed, by, balance, nearest), challenges.load())
    print_json(report) if as_json else _show_split(report)


def _show_split(report: "SplitReport") -> None:
    from rich.table import Table

    table = Table("side", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("videos", "FAKE", "REAL", report.by + "s", "linked"):
        table.add_column(name, justify="right")
    for name, side in report.sides.items():
        if side.videos:
            numbers = (side.videos, side.fake, side.real, side.groups, side.linked)
            table.add_row(name, *(f"{number:,}" for number in numbers))
    out.print(table)
    out.print(f"share of validation {report.share_reached:.1%}, asked for {report.share_asked:.1%}; seed {report.seed}")
    if report.nearer_seed is not None:
        out.print(f"nearer: --seed {report.nearer_seed}; or --nearest, if no more data is to come")
    if report.no_part:
        out.print(
            f"{report.no_part:,} unused: which part they belong to is not known. Take them in with: --by original",
            soft_wrap=True,
        )
    if report.public_test:
        out.print(
            f"{report.public_test:,} unused: the public test_videos show them, validation must not", soft_wrap=True
        )
    out.print(f"[bold green]WRITTEN[/]: {plain(report.folder)}", soft_wrap=True)
    if not any(side.linked for side in report.sides.values()):
        out.print("no video is there to be linked: only the lists were written")
    if report.sides["validation"].linked:
        out.print(f"  next: dfdc run baselines/frame-stats --data {plain(report.folder)}/validation", soft_wrap=True)


@data.command("verify")
def verify(
    folder: FolderArgument = CURRENT_FOLDER,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every frame: about 2 s of CPU time per clip.")] = False,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="File that remembers checked files; default: DIR/.dfdc/."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that every video is present, intact and in the metadata.

    Results are remembered: a second run, or one after Ctrl-C, reads only files
    that are new or changed. Exit code 3 if anything is wrong.

    Examples:

        dfdc data verify ~/deepfake-detection-challenge
        dfdc data verify dfdc_train_part_7 --deep --json
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.cli.progress import counting
    from dfdc_kit.data.integrity import verify as check
    from dfdc_kit.kaggle.download.manifest import expected_files

    with counting("decoding" if deep else "reading headers") as progress:
        expected = expected_files(folder)
        report = check(folder, challenges.load(), deep=deep, state=state, expected=expected, progress=progress)
    print_json(report) if as_json else _show_verify(report)
    if report.problems:
        raise typer.Exit(3)


def _show_verify(report: "VerifyReport") -> None:
    for problem in report.problems[:SHOWN]:
        out.print(f"[bold red]{problem.code}[/] {plain(problem.path)}: {plain(problem.reason)}", soft_wrap=True)
    if len(report.problems) > SHOWN:
        out.print(f"... and {len(report.problems) - SHOWN:,} more; all of them: --json")
    kinds = ", ".join(f"{count:,} {code}" for code, count in report.counts.items())
    verdict = f"[bold red]NOT WHOLE[/]: {kinds}" if report.problems else "[bold green]WHOLE[/]"
    depth = "decoded to the end" if report.deep else "headers read; --deep decodes the rest"
    out.print(
        f"{plural(report.files, 'video')}, {format_bytes(report.bytes)}, {report.read:,} of them read now ({depth})"
    )
    if not report.state_kept:
        out.print(
            f"[yellow]The state could not be kept[/] in {plain(report.state)}: the next run reads all again."
            " Name a file that can be written: --state FILE",
            soft_wrap=True,
        )
    out.print(verdict)


@data.command("status")
def status(folder: FolderArgument = CURRENT_FOLDER, as_json: JsonOption = False) -> None:
    """Show what data is present: folders, classes, missing parts.

    Examples:

        dfdc data status ~/deepfake-detection-challenge
        dfdc data status --json
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.cli.progress import counting
    from dfdc_kit.data.integrity import status as look

    with counting("looking into folders") as progress:
        report = look(folder, challenges.load(), progress)
    print_json(report) if as_json else _show_status(report)


def _show_status(report: "StatusReport") -> None:
    from rich.table import Table

    from dfdc_kit.data.integrity import ranges

    table = Table("folder", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("videos", "size", "missing", "FAKE", "REAL", "originals"):
        table.add_column(name, justify="right")
    for found in report.folders:
        table.add_row(*_status_row(found))
    out.print(table)
    there = report.parts_in_all - len(report.parts_missing)
    missing = f"; missing {ranges(report.parts_missing)}" if report.parts_missing else ""
    parts = f"{there} of {report.parts_in_all} parts{missing}"
    out.print(f"{plural(report.videos, 'video')}, {format_bytes(report.bytes)}; {parts}")


def _status_row(found: "FolderStatus") -> tuple[str, ...]:
    numbers = (found.missing, found.fake, found.real, found.originals)
    said = ("-" if number is None else f"{number:,}" for number in numbers)
    return plain(found.name), f"{found.videos:,}", format_bytes(found.bytes), *said


def add(
    archives: Annotated[list[Path], typer.Argument(metavar="ZIP...", help="Archives as saved by the browser.")],
    to: ToOption = HERE,
    keep_zip: KeepOption = False,
    as_json: JsonOption = False,
) -> None:
    """Unpack and verify archives that a browser downloaded.

    The contents count, not the archive's name. An archive is removed once every
    file of it is verified, unless --keep-zip is given, so at most one archive's
    space is needed in addition to the unpacked files.

    Examples:

        dfdc data add ~/Downloads/dfdc_train_part_07.zip
        dfdc data add ~/Downloads/dfdc_train_part_*.zip --to /big/dfdc
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.cli.progress import TransferScreen
    from dfdc_kit.files import lock_folder
    from dfdc_kit.kaggle.download.ingest import check_exists, ingest_archive

    challenge = challenges.load()
    for archive in archives:
        check_exists(archive)  # before the folder is made, and before an hour of unpacking the others
    results = []
    with TransferScreen(err) as screen, lock_folder(to, warn):
        for archive in archives:
            results.append(ingest_archive(archive, to, challenge, screen, keep_zip=keep_zip))
            if not as_json:
                _show_ingested(results[-1])
    if as_json:
        print_json(results)


def _show_ingested(result: "IngestResult") -> None:
    from dfdc_kit.formatting import format_bytes

    files = f"{plural(result.files, 'file')}, {format_bytes(result.size_bytes)}"
    end = "removed" if result.removed else "kept"
    out.print(f"{plain(result.name)}: {files}; {plain(str(result.archive))} {end}", soft_wrap=True)
