"""`dfdc data add`: take in archives that a browser has fetched."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dfdc_kit.cli.console import JsonOption, err, out, plain, print_json
from dfdc_kit.cli.download import HERE, KeepOption, ToOption

if TYPE_CHECKING:
    from dfdc_kit.data.download.taking_in import TakenIn


def add(
    archives: Annotated[list[Path], typer.Argument(metavar="ZIP...", help="Archives as the browser saved them.")],
    to: ToOption = HERE,
    keep_zip: KeepOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take in archives of the challenge that a browser has fetched: judge, unpack, verify, remove.

    The name of an archive does not matter, what it holds does. Each archive is
    removed once every file of it is verified, unless --keep-zip is given; so
    at most one archive's room is needed beside what is unpacked.

    Examples:

      dfdc data add ~/Downloads/dfdc_train_part_07.zip

      dfdc data add ~/Downloads/dfdc_train_part_*.zip --to /big/dfdc --keep-zip
    """
    from dfdc_kit import challenge as challenges
    from dfdc_kit.cli.transfer import TransferScreen
    from dfdc_kit.data.download.taking_in import take_in, there
    from dfdc_kit.data.download.workplace import working_in

    challenge = challenges.load()
    for archive in archives:
        there(archive)  # before the folder is made, and before an hour of unpacking the others
    taken = []
    with TransferScreen(err) as screen, working_in(to):
        for archive in archives:
            taken.append(take_in(archive, to, challenge, screen, keep_zip=keep_zip))
            if not as_json:
                _show(taken[-1])
    if as_json:
        print_json(taken)


def _show(taken: "TakenIn") -> None:
    from dfdc_kit.amounts import amount

    end = "removed" if taken.removed else "kept"
    files = f"{taken.files:,} file{'' if taken.files == 1 else 's'}"
    out.print(f"{plain(taken.holds)}: {files}, {amount(taken.size_bytes)}; {plain(str(taken.archive))} is {end}")
