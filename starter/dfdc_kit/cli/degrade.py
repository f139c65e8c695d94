"""`dfdc data degrade`: copies of a data folder with the degradations of the challenge's tests."""

from pathlib import Path
from typing import Annotated

import typer

from dfdc_kit.cli.console import JsonOption, out, plain, print_json, print_next, typed, warn
from dfdc_kit.formatting import format_bytes, plural

KindsOption = Annotated[
    str,
    typer.Option(
        "--kinds", "-k", metavar="KINDS", help="Comma-separated degradations, e.g. blur,15-fps; default: all."
    ),
]


def degrade(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Data folder, or a folder of videos.")],
    to: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="New folder for the copies.")],
    kinds: KindsOption = "",
    each: Annotated[
        bool, typer.Option("--each", help="A copy of the whole folder for each kind, in OUT/KIND; default: one mixed.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of kinds, strengths and positions.")] = 0,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Clips at a time; default: one for each core.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make degraded copies of videos, for training or testing.

    Names, metadata.json and labels stay the same. A fake gets the same
    degradation as its original. Kinds: re-encoding, 15-fps,
    quarter-resolution, low-bit-rate, noise, blur, brightness-contrast, colour,
    greyscale, flip, rotation, crop, text, shapes, images. A stopped command
    continues where it was; degradations.csv lists what was done.

    Examples:

        dfdc data degrade train_sample_videos --out degraded
        dfdc data degrade made --out degraded --kinds blur,15-fps --each
    """
    from dfdc_kit.cli.progress import counting
    from dfdc_kit.data.inspection import cores
    from dfdc_kit.data.making.copies import degrade_folder
    from dfdc_kit.data.making.degrade import select_kinds

    with counting("degrading") as progress:
        report = degrade_folder(
            folder,
            to,
            select_kinds(kinds),
            seed=seed,
            each=each,
            workers=cores() if workers is None else workers,
            progress=progress,
            warn=warn,
        )
    if as_json:
        return print_json(report)
    for name in report.left_out[:5]:
        out.print(f"[dim]note:[/] left out {plain(name)}: neither a video nor a table", soft_wrap=True)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in report.kinds.items() if count)
    out.print(f"{plural(report.clips, 'clip')}, {format_bytes(report.size_bytes)}: {counts}", soft_wrap=True)
    if report.problems:
        out.print(f"[yellow]{plural(len(report.problems), 'clip')} copied unchanged[/]: not decodable", soft_wrap=True)
    out.print(f"[bold green]WRITTEN[/]: {plain(report.folder)}", soft_wrap=True)
    print_next(f"dfdc data verify {typed(Path(report.folder))}")
    return None
