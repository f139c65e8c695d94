"""Staging: the input in Kaggle's layout, read-only and without labels; a working folder; a Python of the run's own."""

import errno
import fcntl
import os
import shutil
import site
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.dataset import Dataset
from dfdc_kit.errors import OutputError
from dfdc_kit.files import check_readable, shown_name, unreadable
from dfdc_kit.formatting import format_bytes
from dfdc_kit.harness import python_start
from dfdc_kit.harness.python_start import UTILITY_SCRIPTS
from dfdc_kit.harness.request import RunListener, RunRequest
from dfdc_kit.harness.training_folder import training_folder
from dfdc_kit.sandbox import visible_paths
from dfdc_kit.submission import program_runner
from dfdc_kit.submission.code import CodeSubmission
from dfdc_kit.submission.external_data import KIND_FOLDERS, AttachedInput, folder_bytes

OWN_PYTHON = ".python"  # in the run's home folder
PIP = '#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n'  # finds its Python wherever a sandbox mounts the folder
START = "_dfdc_start"  # python_start.py in that environment
RUNNER_AS_STAGED = ".dfdc-runner.py"  # next to the submission's files
MOST_MOUNTS = 1000  # of single training videos: each one costs time when a run starts
MOST_COPIED_BYTES = 1 << 30  # of training videos, where they can neither be mounted nor reflinked
FICLONE = (
    0x40049409  # reflink: shares a file's blocks where the file system can, without any way to write to the original
)


class Staged:
    """A stage on disk, removed when the context ends. The tree below `root` is that of Kaggle:

    kaggle/input/<slug>   the competition: test videos, sample submission, training folder   read-only
    kaggle/input/<name>   what the submission attaches                                       read-only
    kaggle/usr/lib/<name> links to what of it is a utility script, a module that Kaggle puts on sys.path
    kaggle/src            the submission's own files, read-only
    kaggle/working        the current directory of the run

    `kaggle/input/competitions/<slug>` and `kaggle/input/datasets/<owner>/<name>`, the paths of 2026, are links. Where
    the backend can mount, training videos and attached inputs are not copied: `mounts` has their sources by target.
    """

    def __init__(self, root: Path, challenge: Challenge) -> None:
        self.root = root
        self.inputs = root / "kaggle" / "input"
        self.input = self.inputs / challenge.slug
        self.videos = self.input / challenge.data.test_videos
        self.sample_submission = self.input / challenge.data.sample_submission
        self.source = root / "kaggle" / "src"
        self.working = root / "kaggle" / "working"
        self.temporary = root / "tmp"
        self.command: list[str | Path] = []  # set by `fill`
        self.mounts: dict[Path, Path] = {}  # target below `inputs` -> file or folder to mount there, read-only
        self.withheld: list[str] = []  # names of training videos and rows that are scored
        self.notes: list[str] = []  # what could not be provided as on Kaggle
        self._challenge = challenge
        self._as_staged: dict[Path, tuple[int, int, int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        remove_tree(self.root)

    def changed_input(self) -> list[str]:
        """Names of input files that were changed, removed or added since staging."""
        now = _states(self.inputs)
        either = self._as_staged.keys() | now.keys()
        changed = (path for path in either if self._as_staged.get(path) != now.get(path))
        return sorted(shown_name(path.relative_to(self.inputs)) for path in changed)

    def lacks(self, path: str) -> bool:
        """Whether a path below /kaggle/input is in a folder that Kaggle may have and this stage has not: another data
        set, or the training folder. What is missing in a folder that is staged, Kaggle lacks, too.
        """
        parts = path.split("/")
        if parts[0] == "competitions" and len(parts) > 1:
            parts = parts[1:]
            if "." in parts[0]:  # no competition's name: a program looks for its own file in all folders
                return False
        if parts[0] == self._challenge.slug:
            layout = self._challenge.data
            return parts[1:2] == [layout.train_videos] and not self.provides(f"{parts[0]}/{parts[1]}")
        owned = parts[0] in KIND_FOLDERS
        if parts == ["competitions"] or (owned and len(parts) < 3):  # a program looks through all data sets
            return False
        return not self.provides("/".join(parts[:3] if owned else parts[:1]))

    def provides(self, path: str) -> bool:
        """Whether a path below /kaggle/input exists for the run."""
        real = Path(os.path.realpath(self.inputs / path))
        for target, source in self.mounts.items():
            if real.is_relative_to(target):
                return (source / real.relative_to(target)).exists()
        return real.exists()

    def fill(
        self,
        submission: CodeSubmission,
        dataset: Dataset,
        sample: bytes,
        on_video: Callable[[int, int], None],
        *,
        can_mount: bool,
    ) -> None:
        """Fill the stage. `on_video(done, total)` is called for each video. Raises OutputError."""
        files = submission.files()
        needed = sum(file.stat().st_size for file in (*dataset.videos, *files))
        try:
            for folder in (self.videos, self.source, self.working, self.temporary):
                folder.mkdir(parents=True)
            can_reflink = _can_reflink(dataset.videos[0], self.root)
            self._check_space(needed, can_reflink=can_reflink)
            for done, video in enumerate(dataset.videos, 1):
                _copy(video, self.videos / video.name, can_reflink=can_reflink)
                on_video(done, len(dataset.videos))
            self.sample_submission.write_bytes(sample)
            self._link(f"competitions/{self._challenge.slug}", self.input)
            self._add_training_folder(dataset, can_mount=can_mount, can_reflink=can_reflink)
            for attached in submission.settings.inputs:
                self._attach(attached, submission.folder, can_mount=can_mount)
            for file in files:
                target = self.source / file.relative_to(submission.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(file, target, can_reflink=can_reflink)
                shutil.copymode(file, target)  # it may be a program that the submission starts
            entry = self.source / submission.program
            self.command = [make_python(self.temporary / "home" / OWN_PYTHON), entry, *submission.arguments]
            if program_runner.is_needed(self.source, entry):
                runner = self.source / RUNNER_AS_STAGED
                _copy(Path(program_runner.__file__), runner, can_reflink=can_reflink)
                self.command[1:1] = [runner]
        except OSError as error:
            if error.filename2 is None and error.filename and not Path(error.filename).is_relative_to(self.root):
                raise unreadable(error) from error
            raise OutputError(
                f"Cannot stage the input in {self.root}: {error.strerror}.",
                hint="Choose a folder with enough space: --out DIR",
            ) from error
        for folder in (self.inputs, self.source):
            _make_read_only(folder)
        self._as_staged = _states(self.inputs)

    def _add_training_folder(self, dataset: Dataset, *, can_mount: bool, can_reflink: bool) -> None:
        """The training videos and their metadata, without those that are scored."""
        found = training_folder(dataset, self._challenge)
        if found is None:
            return
        self.withheld = found.withheld
        if found.problem:
            self.notes.append(f"{self._challenge.data.train_videos}: {found.problem}, and is left out")
        target = self.input / self._challenge.data.train_videos
        target.mkdir()
        if found.metadata is not None:
            (target / self._challenge.data.metadata).write_bytes(msgspec.json.encode(found.metadata))
        if can_mount and len(found.videos) <= MOST_MOUNTS:
            for video in found.videos:
                check_readable(video)
                (target / video.name).touch()
                self.mounts[target / video.name] = video
            return
        size_bytes = sum(video.stat().st_size for video in found.videos)
        if size_bytes > MOST_COPIED_BYTES and not can_reflink:
            self.notes.append(
                f"{target.name}: metadata only; its videos ({format_bytes(size_bytes)}) would have to be copied here"
            )
            return
        self._check_space(size_bytes, can_reflink=can_reflink)
        for video in found.videos:
            _copy(video, target / video.name, can_reflink=can_reflink)

    def _attach(self, attached: AttachedInput, submission: Path, *, can_mount: bool) -> None:
        """One attached input, at each of its paths; nothing where its folder is not known here."""
        folder = attached.folder(submission)
        if folder is None:  # reported as an input that is not mounted
            return
        target = self.inputs / attached.mount_points[0]
        target.mkdir(parents=True)
        for path in (folder, *folder.rglob("*")):
            check_readable(path)
        if can_mount:
            self.mounts[target] = folder
        else:
            self._check_space(folder_bytes(folder), can_reflink=False)
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.resolve().is_relative_to(folder):
                    (target / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
                    _copy(path, target / path.relative_to(folder), can_reflink=True)
        for name in attached.mount_points[1:]:
            self._link(name, target)
        script = attached.name.replace("-", "_")
        if attached.kind == "notebook" and (folder / f"{script}.py").is_file():
            for name in (script, attached.mount_points[-1].replace("-", "_")):
                for above in (self.inputs.parent, self.temporary / "kaggle"):  # the latter is what a sandbox mounts
                    link = above / UTILITY_SCRIPTS / name
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(os.path.relpath(above / "input" / attached.name, link.parent))

    def _link(self, name: str, target: Path) -> None:
        link = self.inputs / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(target, link.parent))

    def _check_space(self, needed: int, *, can_reflink: bool) -> None:
        free = shutil.disk_usage(self.root).free
        if needed > free and not can_reflink:
            what = f"copies of videos and submission need {format_bytes(needed)}, and {format_bytes(free)} are free"
            raise OSError(errno.ENOSPC, what)


@contextmanager
def stage(
    request: RunRequest, folder: Path, sample: bytes, listener: RunListener, *, can_mount: bool
) -> Iterator[Staged]:
    """Stage a run in `folder`/stage, which is removed when the context ends. Raises OutputError."""
    with Staged(folder / "stage", request.challenge) as staged:
        staged.fill(request.submission, request.dataset, sample, listener.staged, can_mount=can_mount)
        yield staged


def _copy(source: Path, target: Path, *, can_reflink: bool) -> None:
    """Copy a file, as a reflink where possible. Never a hard link: writing to it would change the original."""
    if not can_reflink:
        shutil.copyfile(source, target)
        return
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
        if path.is_symlink():
            continue
        path.chmod(0o555 if path.stat().st_mode & 0o100 else 0o444)  # folders and programs
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


def make_python(folder: Path) -> Path:
    """Make `folder` a virtual environment on top of the running Python; returns its interpreter. Raises OSError.

    The packages of the running Python stay visible, and pip counts them as installed in another environment: it
    neither looks for them in the index nor tries to remove them.
    """
    base = Path(getattr(sys, "_base_executable", "") or sys.executable)
    minor = f"python3.{sys.version_info.minor}"
    programs, packages = folder / "bin", folder / "lib" / minor / "site-packages"
    for made in (programs, packages):
        made.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    (programs / "python").symlink_to(base)
    for name in ("python3", minor):
        (programs / name).symlink_to("python")
    for name in ("pip", "pip3"):
        (programs / name).write_text(PIP)
        (programs / name).chmod(0o755)
    shutil.copyfile(python_start.__file__, packages / f"{START}.py")
    (packages / f"{START}.pth").write_text(f"import {START}; {START}.start({_shown_package_folders()!r})\n")
    return programs / "python"


def _shown_package_folders() -> list[str]:
    """The folders of packages on the path of this Python that a sandbox shows, without the standard library."""
    shown = {*site.getsitepackages(), *map(str, visible_paths.package_folders())}
    return [str(Path(name).absolute()) for name in dict.fromkeys(sys.path) if str(Path(name).absolute()) in shown]
