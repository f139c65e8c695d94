"""A code submission: a folder with `submission.toml` and the program or notebook it names, or one such file."""

import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import structs

from dfdc_kit.errors import DataError, OutputError, SubmissionError, UsageError, suggest
from dfdc_kit.files import PACKAGE, bundled, check_readable, file_sha256, shown_name, translate_read_errors
from dfdc_kit.formatting import join_names
from dfdc_kit.settings import Settings, read_toml
from dfdc_kit.submission.external_data import (
    AttachedInput,
    ExternalData,
    attached_in,
    read_kernel_metadata,
    with_folders,
)
from dfdc_kit.submission.packages import no_packages

SETTINGS_FILE = "submission.toml"
RUNNABLE = (".py", ".ipynb")
LEFT_BEHIND = {"__pycache__", ".git", ".venv", ".ipynb_checkpoints", ".DS_Store"}  # never part of a submission
RUNS = "runs"  # right below its folder: what `dfdc run` leaves
MOST_LETTERS = 80  # of a name that becomes part of file names


class SubmissionSettings(Settings, frozen=True, kw_only=True):
    """The content of `submission.toml`."""

    name: str
    description: str = ""
    entry_point: str = ""  # program or notebook, with arguments if it takes any; empty: see find_entry_point
    packages: tuple[str, ...] = ()  # distributions that the program imports, as in "torch" or "torch>=2.0"
    gpu: bool = False
    external_data: tuple[ExternalData, ...] = ()
    inputs: tuple[AttachedInput, ...] = ()  # attached on Kaggle: data sets, outputs of notebooks, models


class CodeSubmission(Settings, frozen=True, kw_only=True):
    """A code submission on disk."""

    folder: Path
    settings: SubmissionSettings
    alone: bool = False  # a single file: nothing else in its folder belongs to the submission

    @property
    def program(self) -> str:
        """The program or notebook of the entry point, as a path below `folder`."""
        return _split(self.settings.entry_point)[0]

    @property
    def arguments(self) -> list[str]:
        """The arguments of the entry point."""
        return _split(self.settings.entry_point)[1:]

    @property
    def name(self) -> str:
        """The submission's own name, fit for a file name."""
        return re.sub(r"[^\w.-]+", "-", self.settings.name)[:MOST_LETTERS].strip("-.") or "submission"

    def files(self) -> list[Path]:
        """Every file that belongs to it, sorted; caches, version control and old runs are left out.

        Raises SubmissionError for a link that leaves the folder, for what is neither a file nor a folder, and for a
        name that is not UTF-8.
        """
        if self.alone:
            entry = self.folder / self.program
            _check_link(entry, self.folder)
            return [entry]
        files = sorted(self._below(self.folder, {self.folder.resolve()}))
        for file in files:
            if shown_name(name := file.relative_to(self.folder)) != str(name):
                raise SubmissionError(
                    f"The file name {shown_name(name)} contains bytes that are not UTF-8, which Kaggle refuses.",
                    hint="Rename the file.",
                )
        return files

    def _below(self, folder: Path, entered: set[Path]) -> Iterator[Path]:
        """Files below `folder`; a link to a folder is entered as if it were one, each such folder once in all."""
        for path in sorted(folder.iterdir()):
            if path.name in LEFT_BEHIND or (path.name == RUNS and folder == self.folder):
                continue
            if path.is_symlink():
                _check_link(path, self.folder)
                if not path.exists():  # an editor's lock, for instance
                    continue
                if path.is_dir():
                    if path.resolve() in entered:
                        continue
                    entered.add(path.resolve())
            if path.is_dir():
                yield from self._below(path, entered)
            elif path.is_file():
                yield path
            else:
                raise SubmissionError(
                    f"{path} is neither a file nor a folder.", hint="Remove pipes, sockets and devices from the folder."
                )

    def sha256(self) -> str:
        """A digest over the names and contents of its files."""
        return files_sha256(self.folder, self.files())


def read_code_submission(path: Path, inputs: Mapping[str, Path] | None = None) -> CodeSubmission:
    """The code submission `path`: a folder, one .py or .ipynb file, or from anywhere `baselines/<name>`.

    A folder has a submission.toml, Kaggle's kernel-metadata.json, a main.py or a single program. inputs: folders on
    this machine of what it attaches, by slug (--input). Raises UsageError if there is no such path or folder;
    DataMissingError for a file of it that cannot be read; SubmissionError if it is no submission, or its
    `submission.toml` is invalid.
    """
    with translate_read_errors():
        submission = _read_code_submission(path, inputs or {})
        for file in submission.files():
            check_readable(file)
    return submission


def _read_code_submission(path: Path, inputs: Mapping[str, Path]) -> CodeSubmission:
    if not path.exists() and path.parts[:1] == ("baselines",) and len(path.parts) == 2:
        path = bundled("baselines") / path.name
    hint = "Bundled ones: dfdc baselines. One of your own: dfdc new my-detector"
    if not path.exists():
        raise UsageError(f"File or folder not found: {path}", hint=hint)
    if path.is_file() and path.suffix in RUNNABLE:
        metadata = read_kernel_metadata(path.parent)
        ours = metadata if metadata.get("code_file") == path.name else {}
        settings = SubmissionSettings(name=path.stem, entry_point=shlex.quote(path.name))
        return _submission(path.parent, settings, ours, inputs, alone=True)
    if not path.is_dir():
        raise SubmissionError(f"{path} is neither a folder nor a .py or .ipynb file.", hint=hint)
    metadata = read_kernel_metadata(path)
    settings = _settings(path)
    settings = structs.replace(settings, entry_point=settings.entry_point or find_entry_point(path, metadata))
    submission = _submission(path, settings, metadata, inputs)
    _check_entry_point(path, submission)
    return submission


def find_entry_point(folder: Path, metadata: Mapping[str, Any]) -> str:
    """What to run in a folder whose submission.toml does not say it: `code_file` of kernel-metadata.json, main.py or
    main.ipynb, or the only program. Raises SubmissionError, which lists the candidates.
    """
    if code_file := metadata.get("code_file"):
        return shlex.quote(str(code_file))
    programs = sorted(path.name for path in folder.iterdir() if path.suffix in RUNNABLE and path.is_file())
    for name in ("main.py", "main.ipynb"):
        if name in programs:
            return name
    if len(programs) == 1:
        return shlex.quote(programs[0])
    if not programs:
        below = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*") if path.suffix in RUNNABLE)
        if below:
            raise SubmissionError(
                f"{folder} itself contains no program. Candidates: {join_names(below[:10])}",
                hint=_entry_point_hint(folder, below[0]),
            )
        raise SubmissionError(
            f"{folder} contains no program (.py) and no notebook (.ipynb).",
            hint="Name the right folder, or start a submission: dfdc new my-detector",
        )
    starts = [name for name in programs if "__main__" in (folder / name).read_text("utf-8", "replace")]
    raise SubmissionError(
        f"{folder} has no main.py. Candidates: {join_names(programs)}",
        hint=_entry_point_hint(folder, f"{(starts or programs)[0]} ARGUMENTS"),
    )


def _entry_point_hint(folder: Path, entry_point: str) -> str:
    name = json.dumps(folder.resolve().name, ensure_ascii=False)
    return f'Write {SETTINGS_FILE} with two lines: name = {name} and entry_point = "{entry_point}"'


def _settings(folder: Path) -> SubmissionSettings:
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return SubmissionSettings(name=folder.resolve().name)
    try:
        settings = read_toml(path, SubmissionSettings)
    except DataError as error:  # here it is the submission's own file
        raise SubmissionError(str(error), hint=error.hint) from error
    if wrong := no_packages(settings.packages):
        seen = ", ".join(map(repr, wrong))
        raise SubmissionError(
            f"{path}: packages: seen {seen}; expected names of packages, with or without versions.",
            hint='Write it as pip takes it: "torch" or "torch>=2.0"',
        )
    return settings


def _submission(
    folder: Path,
    settings: SubmissionSettings,
    metadata: Mapping[str, Any],
    inputs: Mapping[str, Path],
    *,
    alone: bool = False,
) -> CodeSubmission:
    """With what kernel-metadata.json and --input add to the settings."""
    slugs = {one.slug for one in settings.inputs}
    attached = (*settings.inputs, *(one for one in attached_in(metadata) if one.slug not in slugs))
    settings = structs.replace(
        settings,
        inputs=with_folders(attached, inputs),
        gpu=settings.gpu or metadata.get("enable_gpu") in (True, "true"),
    )
    return CodeSubmission(folder=folder.resolve(), settings=settings, alone=alone)


def _check_entry_point(folder: Path, submission: CodeSubmission) -> None:
    program = submission.program
    entry, place = folder / program, f"{SETTINGS_FILE} or kernel-metadata.json"
    if Path(program).is_absolute() or ".." in Path(program).parts:
        raise SubmissionError(
            f"The entry point {program} is outside the submission's folder {folder}.",
            hint=f"Name a program inside it in {place}, with a relative path.",
        )
    if not entry.is_file():
        raise SubmissionError(
            f"The entry point {program} is missing in {folder}.", hint=f"Name an existing program in {place}."
        )
    if entry.suffix not in RUNNABLE:
        raise SubmissionError(
            f"{entry} is neither a Python program (.py) nor a notebook (.ipynb).", hint=f"Name one in {place}."
        )
    if submission.folder / program not in submission.files():
        raise SubmissionError(
            f"{entry} is left out of a submission, like everything in {program.split('/')[0]}/.",
            hint=f"Move it, and name it in {place}.",
        )


def _split(entry_point: str) -> list[str]:
    """Program and arguments of an entry point, split as a shell does."""
    try:
        return shlex.split(entry_point) or [entry_point]
    except ValueError:  # a quote that is not closed
        return [entry_point]


def _check_link(path: Path, folder: Path) -> None:
    """Through a link that leaves its folder, a submission could read labels or credentials. Raises SubmissionError."""
    try:
        real = path.resolve(strict=False)
    except (OSError, RuntimeError):  # a loop of links, before Python 3.13
        real = path.parent.resolve() / path.name
    if not real.is_relative_to(folder.resolve()) or real.is_relative_to(folder.resolve() / RUNS):
        raise SubmissionError(
            f"{path} is a link to {real}, which is not part of the submission.",
            hint="Replace it with a copy of the same name: cp -rL",
        )


def files_sha256(base: Path, paths: list[Path]) -> str:
    """One digest of many files: for each, in order, its name below `base` and the digest of its bytes."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.relative_to(base).as_posix().encode() + b"\0" + file_sha256(path).encode() + b"\n")
    return digest.hexdigest()


TEMPLATE = PACKAGE / "templates" / "submission"
NOT_COPIED = {"expected.json"}  # what a baseline must predict says nothing about its copy


def baselines() -> dict[str, CodeSubmission]:
    """The bundled baselines by name: every folder of `baselines/` that holds a submission.toml."""
    found = sorted(path.parent for path in bundled("baselines").glob(f"*/{SETTINGS_FILE}"))
    return {folder.name: read_code_submission(folder) for folder in found}


def start(folder: Path, baseline: str = "") -> list[str]:
    """Copy the template, or the named baseline, to the new folder `folder`; the names of the files written.

    Raises UsageError if `folder` is there already or `baseline` is unknown, OutputError if it cannot be written.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists already; nothing was changed.", hint="Choose another name.")
    known = baselines() if baseline else {}
    if baseline and baseline not in known:
        raise UsageError(f"Unknown baseline {baseline!r}.", hint=suggest(baseline, known, label="Baselines"))
    source = known[baseline] if baseline else read_code_submission(TEMPLATE)
    files = [file.relative_to(source.folder) for file in source.files() if file.name not in NOT_COPIED]
    part = folder.with_name(f".{folder.name}.part")
    try:
        for file in files:
            (part / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.folder / file, part / file)
        settings = part / SETTINGS_FILE
        name = f"name = {json.dumps(folder.name, ensure_ascii=False)}"  # TOML's strings have JSON's escapes
        named = re.sub(r'(?m)^name = ".*"$', lambda _: name, settings.read_text("utf-8"), count=1)
        settings.write_text(named, "utf-8")
        part.rename(folder)
    except OSError as error:
        raise OutputError(
            f"Cannot write {folder}: {error.strerror}.", hint="Choose a folder that can be written and has free space."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [str(file) for file in files]
