"""`dfdc data`: labels, splits and the state of the challenge's data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli import data_make
from dfdc_kit.cli.console import (
    AllOption,
    JsonOption,
    class_names,
    err,
    out,
    plain,
    print_json,
    print_next,
    typed,
    warn,
)
from dfdc_kit.cli.download import KeepOption, ToOption, warn_incomplete
from dfdc_kit.formatting import format_bytes, plural

if TYPE_CHECKING:
    from dfdc_kit.data.integrity import FolderStatus, StatusReport, VerifyReport
    from dfdc_kit.data.split_files import SplitReport
    from dfdc_kit.kaggle.download.ingest import IngestResult


FIRST = 5  # examples on the screen; all are in --json and with --all
CURRENT_FOLDER = Path()

data = typer.Typer(
    help="Labels, splits and the state of the challenge's data.",
    epilog="Example:  `dfdc data split ~/deepfake-detection-challenge`",
    no_args_is_help=True,
)

PathsArgument = Annotated[
    list[Path],
    typer.Argument(
        readable=False,
        metavar="PATH...",
        help="metadata.json or label CSVs, or folders with these, directly or one level down.",
    ),
]

FolderArgument = Annotated[
    Path, typer.Argument(readable=False, metavar="[DIR]", help="Data folder; default: the current one.")
]

CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Folder that remembers checked files; default: ~/.cache/dfdc."),
]


@data.command("labels")
def labels(
    paths: PathsArgument,
    to: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="CSV to write.")] = Path("solution.csv"),
    show_all: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a solution CSV from labels (1 is FAKE).

    Examples:

        dfdc data labels train_sample_videos --out solution.csv
        dfdc data labels dfdc_train_part_0 dfdc_train_part_1/metadata.json
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.data.catalogue import write_labels

    del show_all  # for faults: `console.fail` reads it
    report = write_labels(paths, to, challenges.load())
    if as_json:
        return print_json(report)
    _show_notes(report.notes)
    positive, negative = class_names()
    counts = f"{plural(report.rows, 'video')}, {report.fake:,} {positive} and {report.real:,} {negative}"
    out.print(f"{counts}, from {plural(len(report.sources), 'file')}")
    if report.duplicates:
        out.print(f"{plural(report.duplicates, 'video')} in more than one file, with the same label")
    out.print(f"[bold green]WRITTEN[/]: {plain(report.path)}", soft_wrap=True)
    return None


def _show_notes(notes: list[str]) -> None:
    for note in notes:
        out.print(f"[dim]note:[/] {plain(note)}", soft_wrap=True)


@data.command("split")
def split(
    paths: PathsArgument,
    to: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")] = Path("split"),
    holdout: Annotated[float, typer.Option("--holdout", help="Fraction of the videos held out for validation.")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the split.")] = 0,
    by: Annotated[
        str,
        typer.Option("--by", metavar="GROUP", help="Keep together: part, original, video (each alone) or auto."),
    ] = "auto",
    balance: Annotated[
        bool, typer.Option("--balance", help="As many FAKE as REAL in each fold; the rest is unused.")
    ] = False,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Closest to --holdout; videos may move when more data arrives.")
    ] = False,
    show_all: AllOption = False,
    as_json: JsonOption = False,
    share: Annotated[float | None, typer.Option("--share", hidden=True)] = None,  # name of --holdout until 0.1.0
) -> None:
    """Split into training and validation by original.

    No original and none of its fakes is in both. The same seed gives the same
    split, and no video moves when more data arrives. DIR/split.csv lists every
    video; DIR/train is a training folder, DIR/validation is for `dfdc run
    --data`. Videos are linked, not copied. Copies under another name are left
    out of training.

    Examples:

        dfdc data split ~/deepfake-detection-challenge --holdout 0.2
        dfdc data split train_sample_videos --out fold-1 --seed 1 --balance
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.data.split import SplitPlan
    from dfdc_kit.data.split_files import make_split

    del show_all  # for faults: `console.fail` reads it
    report = make_split(
        paths, to, SplitPlan(holdout if share is None else share, seed, by, balance, nearest), challenges.load()
    )
    print_json(report) if as_json else _show_split(report)


def _show_split(report: "SplitReport") -> None:
    from rich.table import Table

    _show_notes(report.notes)
    positive, negative = class_names()
    table = Table("fold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("videos", positive, negative, report.by + "s", "linked"):
        table.add_column(name, justify="right")
    for name, fold in report.folds.items():
        if fold.videos:
            numbers = (fold.videos, fold.fake, fold.real, fold.groups, fold.linked)
            table.add_row(name, *(f"{number:,}" for number in numbers))
    out.print(table)
    out.print(f"held out {report.holdout_reached:.1%}, asked for {report.holdout:.1%}; seed {report.seed}")
    if report.nearer_seed is not None:
        out.print(f"closer: --seed {report.nearer_seed}; or --nearest, if no data will be added later")
    for count, reason in (
        (report.no_part, "their part is unknown; --by original includes them"),
        (report.public_test, "they are in the public test, which is no validation set"),
        (report.copies, "validation has a copy of them, or of one with the same original, under another name"),
    ):
        if count:
            out.print(f"{count:,} unused: {reason}", soft_wrap=True)
    for warning in report.warnings:
        warn(warning)
    out.print(f"[bold green]WRITTEN[/]: {plain(report.folder)}", soft_wrap=True)
    if not any(fold.linked for fold in report.folds.values()):
        out.print("no video is present: only the lists were written")
    if report.folds["validation"].linked:
        print_next(f"dfdc run baselines/frame-stats --data {typed(Path(report.folder) / 'validation')}")


@data.command("verify")
def verify(
    folder: FolderArgument = CURRENT_FOLDER,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every frame: about 2 s of CPU time per clip.")] = False,
    cache: CacheOption = None,
    show_all: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check that every video is present, intact and listed.

    Takes a data folder or a plain folder of videos. Results are remembered: a
    second run, or one after Ctrl-C, reads only files that are new or changed.
    Exit code 3 if anything is wrong.

    Examples:

        dfdc data verify ~/deepfake-detection-challenge
        dfdc data verify dfdc_train_part_7 --deep --json
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.cli.progress import counting
    from dfdc_kit.data.integrity import verify as check
    from dfdc_kit.files import translate_read_errors
    from dfdc_kit.kaggle.download.manifest import expected_files

    with counting("decoding" if deep else "reading headers") as progress:
        if folder.is_dir():
            with translate_read_errors():
                next(folder.iterdir(), None)
        expected = expected_files(folder)
        report = check(folder, challenges.load(), deep=deep, cache=cache, expected=expected, progress=progress)
    print_json(report) if as_json else _show_verify(report, show_all=show_all)
    if report.problems:
        raise typer.Exit(3)


def _show_verify(report: "VerifyReport", *, show_all: bool) -> None:
    shown = report.problems if show_all else report.problems[:FIRST]
    for problem in shown:
        out.print(f"[bold red]{problem.code}[/] {plain(problem.path)}: {plain(problem.reason)}", soft_wrap=True)
    if len(report.problems) > len(shown):
        out.print(f"and {len(report.problems) - len(shown):,} more; all of them: --all or --json")
    depth = "decoded to the end" if report.deep else "headers read; --deep decodes the rest"
    out.print(
        f"{plural(report.files, 'video')}, {format_bytes(report.bytes)}, {report.read:,} of them read now ({depth})"
    )
    if not report.cached:
        out.print(
            f"[yellow]Not remembered[/]: cannot write {plain(report.cache)}; the next run reads all again."
            " Name a writable folder: --cache DIR",
            soft_wrap=True,
        )
    kinds = ", ".join(f"{count:,} {code}" for code, count in report.counts.items())
    problems = f"[bold red]{plural(len(report.problems), 'PROBLEM', 'PROBLEMS')}[/]: {kinds}"
    out.print(problems if report.problems else "[bold green]OK[/]")


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

    with counting("reading folders") as progress:
        report = look(folder, challenges.load(), progress)
    print_json(report) if as_json else _show_status(report)


def _show_status(report: "StatusReport") -> None:
    from rich.table import Table

    from dfdc_kit.data.integrity import ranges

    positive, negative = class_names()
    table = Table("folder", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("videos", "size", "missing", positive, negative, "originals"):
        table.add_column(name, justify="right")
    for found in report.folders:
        table.add_row(*_status_row(found))
    if len(report.folders) > 1:
        total = (report.videos, format_bytes(report.bytes), report.missing, report.fake, report.real)
        table.add_row("total", *(text if isinstance(text, str) else f"{text:,}" for text in total), "")
    out.print(table)
    present = report.parts_in_all - len(report.parts_missing)
    missing = f"; missing: {ranges(report.parts_missing)}" if report.parts_missing else ""
    parts = f"; {present} of {report.parts_in_all} parts{missing}" if report.parts_in_all else ""
    classes = f" ({report.fake:,} {positive}, {report.real:,} {negative} listed)" if report.fake or report.real else ""
    out.print(f"{plural(report.videos, 'video')}, {format_bytes(report.bytes)}{classes}{parts}", soft_wrap=True)


def _status_row(found: "FolderStatus") -> tuple[str, ...]:
    numbers = (found.missing, found.fake, found.real, found.originals)
    texts = ("-" if number is None else f"{number:,}" for number in numbers)
    return plain(found.name), f"{found.videos:,}", format_bytes(found.bytes), *texts


@data.command()
def add(
    archives: Annotated[
        list[Path], typer.Argument(readable=False, metavar="ZIP...", help="Archives as saved by the browser.")
    ],
    to: ToOption = None,
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
    to = to or Path(challenge.slug)
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
    warn_incomplete(results)


def _show_ingested(result: "IngestResult") -> None:
    from dfdc_kit.formatting import format_bytes

    files = f"{plural(result.files, 'file')}, {format_bytes(result.size_bytes)}"
    end = "removed" if result.removed else "kept"
    out.print(f"{plain(result.name)}: {files}; {plain(str(result.archive))} {end}", soft_wrap=True)


data.command()(data_make.degrade)
data.command()(data_make.make)
