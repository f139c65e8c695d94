"""`dfdc audit`: leaks and traps in the data and in a split of it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import AllOption, JsonOption, class_names, plain, print_json, print_next, say
from dfdc_kit.cli.data import FIRST, CacheOption
from dfdc_kit.errors import DataMissingError
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.data.audit.audit import AuditReport

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def audit(
    paths: Annotated[
        list[Path],
        typer.Argument(readable=False, metavar="PATH...", help="Data folders or label files."),
    ],
    split: Annotated[
        Path | None,
        typer.Option("--split", readable=False, metavar="FILE", help="Split to check: split.csv or its folder."),
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(
            "--submission",
            readable=False,
            metavar="FILE",
            help="Submission CSV in which to look for rows left unchanged.",
        ),
    ] = None,
    metadata_only: Annotated[bool, typer.Option("--metadata-only", help="Do not open any video.")] = False,
    cache: CacheOption = None,
    show_all: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find leaks and other problems in the data.

    Looks for originals in both training and validation, validation on the
    public test, duplicates, labels that the container reveals, missing
    originals, broken files, class imbalance, and rows without a prediction.
    Exit code 1 if a score on this data would be worthless.

    Examples:

        dfdc audit ~/deepfake-detection-challenge
        dfdc audit dfdc_train_part_0 dfdc_train_part_1 --split split/split.csv
        dfdc audit train_sample_videos --metadata-only --json
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.cli.progress import counting
    from dfdc_kit.data.audit.audit import audit as look

    with counting("reading headers") as progress:
        report = look(
            paths,
            challenges.load(),
            split=split,
            submission=submission,
            open_videos=not metadata_only,
            cache=cache,
            progress=progress,
        )
    print_json(report) if as_json else _show(report, show_all=show_all)
    if report.errors:
        raise typer.Exit(1)
    if not report.files and not metadata_only:
        raise DataMissingError(
            f"None of the {plural(report.videos, 'video')} is present; containers, copies and files were not tested.",
            command=shlex.join(["dfdc", "audit", *map(str, paths), "--metadata-only"]),
        )


def _show(report: "AuditReport", *, show_all: bool) -> None:
    for note in report.notes:
        say(f"[dim]note:[/] {plain(note)}")
    for found in report.findings:
        colour = COLOURS[found.severity]
        say(f"[bold {colour}]{found.severity}[/] [bold]{found.code}[/] ({found.count:,}): {plain(found.what)}")
        shown = found.examples if show_all else found.examples[:FIRST]
        for example in shown:
            say(plain(example), indent=4)
        if len(found.examples) > len(shown):
            say(f"[dim]and {len(found.examples) - len(shown):,} more (all: --all or --json)[/]", indent=4)
        say(f"[dim]fix:[/] {plain(found.fix)}", indent=4)
        if found.command:
            print_next(found.command)
    if report.leak and not report.leak.is_significant:
        say(f"no container leak: {report.leak.log_loss:.4f} on held-out originals, the constant scores 0.6931")
    _show_rules(report)
    opened = f"{report.files:,} of them opened" if report.files else "no video opened"
    videos = f"{plural(report.videos, 'video')}, {report.fake:,} {class_names()[0]}"
    say(f"{videos}, {plural(report.originals, 'original')}; {opened}")
    kinds = {name: sum(found.severity == name for found in report.findings) for name in COLOURS}
    counts = ", ".join(plural(count, name) for name, count in kinds.items() if count)
    colour = COLOURS[report.findings[0].severity] if report.findings else "green"
    verdict = "AUDIT FAILED" if report.errors else "AUDITED" if report.files else "AUDITED, METADATA ONLY"
    say(f"[bold {colour}]{verdict}[/]: {counts or 'nothing found'}")


def _show_rules(report: "AuditReport") -> None:
    """Which rules passed, and which were not tested and why."""
    if passed := [result.rule for result in report.rules if result.outcome == "passed"]:
        say(f"[green]passed[/]: {', '.join(passed)}")
    reasons = dict.fromkeys(result.reason for result in report.rules if result.outcome == "not tested")
    for reason in reasons:
        names = [result.rule for result in report.rules if result.reason == reason]
        say(f"[yellow]not tested[/]: {', '.join(names)} ({plain(reason)})")
