"""Names that come from outside: from an archive's list or from a server's."""

import re
from pathlib import PurePosixPath

OURS = ".dfdc"  # the folder, in a data folder, for what the kit itself notes


def danger(name: str) -> str:
    """What makes `name`, relative and with /, unfit to be written below a folder; empty if nothing does."""
    path = PurePosixPath(name)
    faults = {
        "a name without a letter": not name.strip("./ "),
        "an absolute name": name.startswith("/") or re.match(r"[A-Za-z]:", name) is not None,
        "a name that climbs out of the folder": ".." in path.parts,
        "a name with a backslash": "\\" in name,
        "a name with control characters": not name.isprintable(),
        "a name not in its simplest form": name.removesuffix("/") != str(path),
        "a name of ours": path.parts[:1] == (OURS,),
    }
    return next((fault for fault, is_so in faults.items() if is_so), "")
