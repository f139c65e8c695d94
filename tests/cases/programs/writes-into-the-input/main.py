"""Changes, adds and removes input files."""

import os
from pathlib import Path

from common import INPUT, VIDEOS, attempt, write

video = sorted(VIDEOS.iterdir())[0]
write()
attempt("write", lambda: video.open("r+b"))
attempt("write after chmod", lambda: (video.chmod(0o666), video.open("r+b")))
attempt("add", lambda: (VIDEOS / "new.mp4").write_bytes(b"x"))
attempt("remove", video.unlink)
attempt("rename", lambda: video.rename("taken.mp4"))
attempt("truncate", lambda: os.truncate(video, 0))
attempt("link", lambda: os.link(video, "linked.mp4") or Path("linked.mp4").open("r+b"))  # noqa: SIM115
attempt("through /proc", lambda: Path(f"/proc/self/fd/{os.open(video, os.O_RDONLY)}").open("r+b"))  # noqa: SIM115
attempt("sample", lambda: (INPUT / "sample_submission.csv").open("r+b"))
