"""A code submission: a folder with `submission.toml` and the program or notebook it names, or one such file."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from dfdc_kit.errors import DataError, OutputError, SubmissionError, UsageError, suggest
from dfdc_kit.files import PACKAGE, bundled, file_sha256
from dfdc_kit.profiles import Profile
from dfdc_kit.settings import Settings, read_toml
from dfdc_kit.submission.packages import no_packages

SETTINGS_FILE = "submission.toml"
RUNNABLE = (".py", ".ipynb")
LEFT_BEHIND = {"__pycache__", ".git", ".venv", ".ipynb_checkpoints", ".DS_Store"}  # never part of a submission
RUNS = "runs"  # nor what `dfdc run` leaves, right below its folder
MOST_LETTERS = 80  # of a name that becomes a part of file names


class ExternalData(Settings, frozen=True, kw_only=True):
    """One entry of the external-data manifest: data or weights that do not come from the challenge."""

    name: str
    size_bytes: int
    licence: str
    url: str


class SubmissionSettings(Settings, frozen=True, kw_only=True):
    """What `submission.toml` says."""

    name: str
    description: str = ""
    entry_point: str = "main.py"
    packages: tuple[str, ...] = ()  # distributions that the program imports, as in "torch" or "torch>=2.0"
    gpu: bool = False
    external_data: tuple[ExternalData, ...] = ()


class CodeSubmission(Settings, frozen=True, kw_only=True):
    """A code submission on disk."""

    folder: Path
    settings: SubmissionSettings
    alone: bool = False  # one file: nothing beside it belongs to the submission

    @property
    def name(self) -> str:
        """The submission's own name, fit for a file name."""
        return re.sub(r"[^\w.-]+", "-", self.settings.name)[:MOST_LETTERS].strip("-.") or "submission"

    def files(self) -> list[Path]:
        """Every file that belongs to it, sorted; caches, version control and old runs are left out.

        Raises SubmissionError for a link that leaves the folder, and for what is neither file nor folder.
        """
        if self.alone:
            entry = self.folder / self.settings.entry_point
            _refuse_a_way_out(entry, self.folder)
            return [entry]
        return sorted(self._below(self.folder, {self.folder.resolve()}))

    def _below(self, folder: Path, entered: set[Path]) -> Iterator[Path]:
        """Files below `folder`; a link to a folder is entered as if it lay there, each such folder once in all."""
        for path in sorted(folder.iterdir()):
            if path.name in LEFT_BEHIND or (path.name == RUNS and folder == self.folder):
                continue
            if path.is_symlink():
                _refuse_a_way_out(path, self.folder)
                if not path.exists():  # an editor's lock, say
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
                    f"{path} is neither a file nor a folder.", hint="Take pipes, sockets and devices out of the folder."
                )

    def sha256(self) -> str:
        """A digest over the names and contents of its files."""
        return files_sha256(self.folder, self.files())


def read_code_submission(path: Path) -> CodeSubmission:
    """The code submission `path`: a folder, one .py or .ipynb file, or from anywhere `baselines/<name>`.

    Raises UsageError if there is none; SubmissionError if it is no submission, or its `submission.toml` is faulty.
    """
    if not path.exists() and path.parts[:1] == ("baselines",) and len(path.parts) == 2:
        path = bundled("baselines") / path.name
    if path.is_file() and path.suffix in RUNNABLE:
        alone = SubmissionSettings(name=path.stem, entry_point=path.name)
        return CodeSubmission(folder=path.parent.resolve(), settings=alone, alone=True)
    hint = "The bundled ones: dfdc baselines. One of your own: dfdc new my-detector"
    if not path.exists():
        raise UsageError(f"There is no folder {path}.", hint=hint)
    if not path.is_dir():
        raise SubmissionError(f"{path} is neither a folder nor a .py or .ipynb file.", hint=hint)
    settings_path = path / SETTINGS_FILE
    if settings_path.is_file():
        try:
            settings = read_toml(settings_path, SubmissionSettings)
        except DataError as error:  # here it is the submission's own file
            raise SubmissionError(str(error), hint=error.hint) from error
        if wrong := no_packages(settings.packages):
            seen = ", ".join(map(repr, wrong))
            raise SubmissionError(
                f"{settings_path}: packages: seen {seen}; expected names of packages, with or without versions.",
                hint='Write it as pip takes it: "torch" or "torch>=2.0"',
            )
    else:
        settings = SubmissionSettings(name=path.resolve().name)
    entry = path / settings.entry_point
    if not _inside(settings.entry_point) or not entry.is_file():
        raise SubmissionError(
            f"{path} has no {settings.entry_point} in it.",
            hint=f"A code submission is a folder with {SETTINGS_FILE} and main.py. Start one: dfdc new my-detector",
        )
    if entry.suffix not in RUNNABLE:
        raise SubmissionError(
            f"{entry} is neither a Python program (.py) nor a notebook (.ipynb).",
            hint=f"Name one in {settings_path}: entry_point",
        )
    submission = CodeSubmission(folder=path.resolve(), settings=settings)
    if submission.folder / settings.entry_point not in submission.files():
        raise SubmissionError(
            f"{entry} is left out of a submission, like all below {settings.entry_point.split('/')[0]}.",
            hint=f"Move it, and name it in {settings_path}: entry_point",
        )
    return submission


def _inside(entry_point: str) -> bool:
    """Whether it is a path below the submission's folder."""
    return not Path(entry_point).is_absolute() and ".." not in Path(entry_point).parts


def _refuse_a_way_out(path: Path, folder: Path) -> None:
    """Through a link, a submission would be handed what is not its own: labels, credentials. Raises SubmissionError."""
    try:
        real = path.resolve(strict=False)
    except (OSError, RuntimeError):  # links that go round in a circle, before Python 3.13
        real = path.parent.resolve() / path.name
    if not real.is_relative_to(folder.resolve()) or real.is_relative_to(folder.resolve() / RUNS):
        raise SubmissionError(
            f"{path} is a link to {real}, which is no part of the submission.",
            hint="Put a copy in its place: cp -rL of the link, under the same name.",
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
        raise UsageError(f"{folder} is there already; nothing was changed.", hint="Choose another name.")
    known = baselines() if baseline else {}
    if baseline and baseline not in known:
        raise UsageError(f"There is no baseline {baseline!r}.", hint=suggest(baseline, known, label="Baselines"))
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
            f"Cannot write {folder}: {error.strerror}.", hint="Choose a folder that can be written and has room."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [str(file) for file in files]


OWN_SUFFIXES = {".py", ".ipynb", ".toml", ".md", ".txt", ".cfg", ".yaml", ".yml", ".png"}  # code and words about it
SMALL_BYTES = 1 << 20  # a table of the submission's own, such as a fitted linear model
MIB = 1 << 20


def manifest_faults(submission: CodeSubmission, profile: Profile) -> list[str]:
    """What the manifest of `submission` lacks, in sentences; empty if it is in order.

    Rule (competition rules, external data): pre-trained models and other data that do not come from the challenge are
    public, and at most `profile.external_data_bytes` in all. A file of the folder is listed by its path as `name`.
    """
    listed = submission.settings.external_data
    faults = [
        f"external data {entry.name!r} has no {field}"
        for entry in listed
        for field in ("licence", "url")
        if not getattr(entry, field).strip()
    ]
    sizes = {file.relative_to(submission.folder).as_posix(): file.stat().st_size for file in submission.files()}
    names = {entry.name for entry in listed}
    for name, size_bytes in sizes.items():
        if size_bytes > SMALL_BYTES and name not in names and f".{name.rpartition('.')[2]}" not in OWN_SUFFIXES:
            faults.append(
                f"{name} ({size_bytes / MIB:,.0f} MiB) is not listed; if it is your own work, say so as its url"
            )
    faults += [
        f"{entry.name} is {sizes[entry.name]} bytes, listed as {entry.size_bytes}"
        for entry in listed
        if sizes.get(entry.name, entry.size_bytes) != entry.size_bytes
    ]
    total_bytes = sum(entry.size_bytes for entry in listed)
    if profile.external_data_bytes is not None and not total_bytes <= profile.external_data_bytes:
        limit = f"{profile.external_data_bytes / MIB:,.0f} MiB"
        faults.append(f"external data takes {total_bytes / MIB:,.0f} MiB in all; the limit is {limit}")
    return faults
