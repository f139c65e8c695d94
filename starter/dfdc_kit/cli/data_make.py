"""`dfdc data make` and `dfdc data degrade`: a challenge of any size, made here, and degraded copies of videos."""

from pathlib import Path
from typing import Annotated

import typer

from dfdc_kit.cli.console import JsonOption, class_names, out, plain, print_json, print_next, typed, warn
from dfdc_kit.formatting import format_bytes, format_time, plural

KindsOption = Annotated[
    str,
    typer.Option(
        "--kinds", "-k", metavar="KINDS", help="Comma-separated degradations, e.g. blur,15-fps; default: all."
    ),
]


def make(
    to: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    train: Annotated[int, typer.Option("--train", metavar="N", help="Number of training clips.")] = 400,
    test: Annotated[int, typer.Option("--test", metavar="N", help="Number of test clips.")] = 400,
    seed: Annotated[int, typer.Option("--seed", help="Random seed: another seed, other clips.")] = 0,
    size: Annotated[
        str, typer.Option("--size", help="640 (640x360, 2 s) or 1080p (1920x1080, 10 s, as in the challenge).")
    ] = "640",
    people: Annotated[int, typer.Option("--people", metavar="N", help="People who take part; default: all.")] = 0,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes; default: one per core that memory allows.")
    ] = 0,
    dask: Annotated[
        str, typer.Option("--dask", metavar="ADDRESS", help="Dask scheduler whose workers share the folder.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a challenge of invented people, in the official layout.

    Half of the clips are FAKE. The Private part has people and manipulations
    that training and the Public part lack; test clips are partly degraded.
    The same options give the same clips. Stopped? Repeat the command: finished
    clips are kept, and --train and --test may grow.

    Examples:

        dfdc data make --out made --train 400 --test 400
        dfdc data make --out made --train 4000 --test 4000 --workers 8
        dfdc data make --out large --train 20 --test 20 --size 1080p
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.cli.progress import counting
    from dfdc_kit.data.making.make import MakeOptions, make_challenge

    options = MakeOptions(train=train, test=test, seed=seed, size=size, people=people)
    with counting("made") as progress:
        report = make_challenge(to, options, challenges.load(), progress, warn, workers=workers, dask=dask)
    if as_json:
        return print_json(report)
    clips = plural(report.train + report.test, "clip")
    out.print(f"{clips}, {report.fake:,} {class_names()[0]}, {format_bytes(report.bytes)}", soft_wrap=True)
    out.print("people: " + ", ".join(f"{count} {part}" for part, count in report.people.items()))
    if report.made:
        rate = report.made / report.seconds
        out.print(f"made {plural(report.made, 'clip')} in {format_time(report.seconds, 2)}, {rate:.1f} a second")
    out.print(f"[bold green]WRITTEN[/]: {plain(report.folder)}", soft_wrap=True)
    if report.test:
        print_next(f"dfdc run baselines/frame-stats --data {typed(to)}")
    return None


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
