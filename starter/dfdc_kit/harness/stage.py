"""Staging: the input in Kaggle's layout, read-only and without labels, and a working folder."""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.errors import OutputError
from dfdc_kit.formatting import format_bytes
from dfdc_kit.harness import program_runner
from dfdc_kit.harness.run_python import OWN_PYTHON, make_python
from dfdc_kit.submission.code import CodeSubmission

RUNNER_AS_STAGED = ".dfdc-runner.py"  # next to the submission's files
FICLONE = (
    0x40049409  # reflink: shares a file's blocks where the file system can, without any way to write to the original
)


class Staged:
    """A stage on disk, removed when the context ends. The tree below `root` is that of Kaggle:

    kaggle/input/<slug>/test_videos, kaggle/input/<slug>/sample_submission.csv   read-only
    kaggle/src        the submission's own files, read-only
    kaggle/working    the current directory of the run
    """

    def __init__(self, root: Path, challenge: Challenge) -> None:
        self.root = root
        self.input = root / "kaggle" / "input" / challenge.slug
        self.videos = self.input / challenge.data.test_videos
        self.sample_submission = self.input / challenge.data.sample_submission
        self.source = root / "kaggle" / "src"
        self.working = root / "kaggle" / "working"
        self.temporary = root / "tmp"
        self.command: list[str | Path] = []  # set by `fill`
        self._as_staged: dict[Path, tuple[int, int, int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        remove_tree(self.root)

    def changed_input(self) -> list[str]:
        """Names of input files that were changed, removed or added since staging."""
        now = _states(self.input)
        either = self._as_staged.keys() | now.keys()
        return sorted(
            str(path.relative_to(self.input)) for path in either if self._as_staged.get(path) != now.get(path)
        )

    def fill(
        self, submission: CodeSubmission, dataset: Dataset, sample: bytes, on_video: Callable[[int, int], None]
    ) -> None:
        """Fill the stage. `on_video(done, total)` is called for each video. Raises OutputError."""
        files = submission.files()
        needed = sum(file.stat().st_size for file in (*dataset.videos, *files))
        try:
            for folder in (self.videos, self.source, self.working, self.temporary):
                folder.mkdir(parents=True)
            free = shutil.disk_usage(self.root).free
            if needed > free and not _can_reflink(dataset.videos[0], self.root):
                raise OSError(
                    errno.ENOSPC,
                    f"copies of videos and submission need {format_bytes(needed)}, and {format_bytes(free)} are free",
                )
            for done, video in enumerate(dataset.videos, 1):
                _copy(video, self.videos / video.name)
                on_video(done, len(dataset.videos))
            self.sample_submission.write_bytes(sample)
            for file in files:
                target = self.source / file.relative_to(submission.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(file, target)
            entry = self.source / submission.program
            self.command = [make_python(self.temporary / "home" / OWN_PYTHON), entry, *submission.arguments]
            if program_runner.is_needed(self.source, entry):
                runner = self.source / RUNNER_AS_STAGED
                _copy(Path(program_runner.__file__), runner)
                self.command[1:1] = [runner]
        except OSError as error:
            raise OutputError(
                f"Cannot stage the input in {self.root}: {error.strerror}.",
                hint="Choose a folder with enough space: --out DIR",
            ) from error
        for folder in (self.input, self.source):
            _make_read_only(folder)
        self._as_staged = _states(self.input)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, as a reflink where possible. Never a hard link: writing to it would change the original."""
    with source.open("rb") as reader, target.open("wb") as writer, suppress(OSError):
        fcntl.ioctl(writer.fileno(), FICLONE, reader.fileno())
        return
    shutil.copyfile(source, target)


def _can_reflink(source: Path, folder: Path) -> bool:
    trial = folder / ".trial"
    try:
        with source.open("rb") as reader, trial.open("wb") as writer:
            fcntl.ioctl(writer.fileno(), FICLONE, reader.fileno())
    except OSError:
        return False
    finally:
        trial.unlink(missing_ok=True)
    return True


def _make_read_only(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)


def _states(folder: Path) -> dict[Path, tuple[int, int, int, int]]:
    """Size, modification time, inode and mode of everything below `folder`."""
    found = {}
    for path in folder.rglob("*"):
        try:
            state = path.lstat()
        except OSError:  # the run has closed its folder: counts as removed
            continue
        found[path] = (
            state.st_size if stat.S_ISREG(state.st_mode) else 0,
            state.st_mtime_ns,
            state.st_ino,
            state.st_mode,
        )
    return found


def remove_tree(root: Path) -> None:
    """Remove a tree with read-only folders; links in it are removed, not followed."""
    if not root.exists():
        return
    root.chmod(0o700)
    for path, names, _ in os.walk(root):  # chmod before walking into it
        for folder in (Path(path, name) for name in names):
            if not folder.is_symlink():
                folder.chmod(0o700)
    shutil.rmtree(root)
