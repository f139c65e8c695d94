"""`python -m tests.fake_kaggle FOLDER`: serve a folder as the competition's files, for a try by hand.

It prints the variables that send the official client here. FOLDER/parts/*.zip, if any, are what cookies open.
"""

import shlex
import sys
import tempfile
import threading
from pathlib import Path

from . import FakeKaggle, World
from .world import COOKIE


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    parts = {path.name: path for path in files if path.parent == folder / "parts"}
    world = World(
        files={str(path.relative_to(folder)): path for path in files if path.name not in parts},
        parts=dict(parts),
        bytes_per_s=float(sys.argv[2]) if len(sys.argv) > 2 else 0,
    )
    home = Path(tempfile.mkdtemp(prefix="fake-kaggle-"))
    (home / "cookies.txt").write_text(
        f"# Netscape HTTP Cookie File\n.kaggle.fake\tTRUE\t/\tFALSE\t0\tsession\t{COOKIE}\n"
    )
    with FakeKaggle(world) as server:
        for name, value in server.environment(home).items():
            print(f"export {name}={shlex.quote(value)}")
        print(
            f"# cookies: {home}/cookies.txt; parts: --url 'http://www.kaggle.fake/c/1/datadownload/NAME_{{part:02d}}.zip'"
        )
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
