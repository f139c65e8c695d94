"""`dfdc audit`: leaks and traps in the data and in a split of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, plain, print_json
from dfdc_kit.formatting import plural

if TYPE_CHECKING:
    from dfdc_kit.data.audit.audit import AuditReport

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def audit(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Data folders or metadata files."),
    ],
    split: Annotated[
        Path | None, typer.Option("--split", metavar="FILE", help="Split to check: split.csv or its folder.")
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option("--submission", metavar="FILE", help="Submission CSV in which to look for rows left unchanged."),
    ] = None,
    metadata_only: Annotated[bool, typer.Option("--metadata-only", help="Do not open any video.")] = False,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="File that remembers checked files; default: DIR/.dfdc/."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find leaks and other data problems before you train.

    Looks for originals in both training and validation, validation on the
    public test, duplicates, labels that the container reveals, missing
    originals, broken files, class imbalance, and rows nobody predicted.
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
            state=state,
            progress=progress,
        )
    print_json(report) if as_json else _show(report)
    if report.errors:
        raise typer.Exit(1)


def _show(report: "AuditReport") -> None:
    from dfdc_kit.cli.validate import _say

    for found in report.findings:
        colour = COLOURS[found.severity]
        _say(f"[bold {colour}]{found.severity}[/] [bold]{found.code}[/] ({found.count:,}): {plain(found.what)}")
        for example in found.examples:
            _say(plain(example), indent=4)
        if found.count > len(found.examples) > 1:
            _say(f"[dim]... and {found.count - len(found.examples):,} more[/]", indent=4)
        _say(f"[dim]mend:[/] {plain(found.mend)}", indent=4)
    if report.leak and not report.leak.is_one:
        _say(f"containers give no labels away: {report.leak.log_loss:.4f} on held-out originals, 0.5 costs 0.6931")
    opened = f"{report.files:,} of them opened" if report.files else "no video opened"
    _say(f"{plural(report.videos, 'video')}, {report.fake:,} FAKE, {plural(report.originals, 'original')}; {opened}")
    kinds = {name: sum(found.severity == name for found in report.findings) for name in COLOURS}
    said = ", ".join(plural(count, name) for name, count in kinds.items() if count)
    colour = COLOURS[report.findings[0].severity] if report.findings else "green"
    _say(f"[bold {colour}]{'AUDIT FAILED' if report.errors else 'AUDITED'}[/]: {said or 'nothing found'}")
