"""External data of a submission: what it attaches on Kaggle, where that is on this machine, and the rules' manifest."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dfdc_kit.errors import SubmissionError, UsageError, suggest
from dfdc_kit.files import cache_folder, translate_read_errors
from dfdc_kit.formatting import format_bytes
from dfdc_kit.profiles import Profile
from dfdc_kit.settings import Settings

if TYPE_CHECKING:
    from dfdc_kit.submission.code import CodeSubmission

KAGGLE = "https://www.kaggle.com/"
KERNEL_METADATA = "kernel-metadata.json"
SOURCES: dict[str, "Kind"] = {"dataset_sources": "dataset", "kernel_sources": "notebook", "model_sources": "model"}
KIND_FOLDERS = ("datasets", "notebooks", "models")  # below /kaggle/input since 2026: kind, owner, name
OWN_SUFFIXES = {".py", ".ipynb", ".toml", ".md", ".txt", ".cfg", ".yaml", ".yml", ".png"}  # code and words about it
SMALL_BYTES = 1 << 20  # a table of the submission's own, such as a fitted linear model

Kind = Literal["dataset", "notebook", "model"]


class ExternalData(Settings, frozen=True, kw_only=True):
    """One entry of the external-data manifest: data or weights that do not come from the challenge."""

    name: str
    size_bytes: int
    licence: str
    url: str


class AttachedInput(Settings, frozen=True, kw_only=True):
    """One thing that a submission attaches on Kaggle: a data set, the output of a notebook, or a model.

    slug: as in its address, `owner/name` (a model: `owner/name/framework/variation/version`); without an owner it has
    the path of 2020 only. path: its folder on this machine, relative to the submission; empty: not known.
    """

    slug: str
    kind: Kind = "dataset"
    path: str = ""
    licence: str = ""
    url: str = ""

    @property
    def name(self) -> str:
        """The slug without its owner: the folder below /kaggle/input, in the layout of 2020."""
        return self.slug.partition("/")[2] or self.slug

    @property
    def mount_points(self) -> list[str]:
        """Its paths below /kaggle/input: in the layout of 2020, and where an owner is known, in that of 2026."""
        return [self.name, *([f"{self.kind}s/{self.slug}"] if "/" in self.slug else [])]

    def folder(self, submission: Path) -> Path | None:
        """Its folder on this machine: `path`, else where `dfdc download inputs` puts it; None if there is none.

        Raises DataMissingError if that cannot be told for lack of permission.
        """
        found = submission / Path(self.path).expanduser() if self.path else downloaded_input(self)
        with translate_read_errors():
            return found.resolve() if found.is_dir() else None


def downloaded_input(attached: AttachedInput) -> Path:
    """The folder of the cache where an attached input is downloaded to."""
    return cache_folder() / "inputs" / f"{attached.kind}s" / attached.slug


def with_folders(attached: Iterable[AttachedInput], folders: Mapping[str, Path]) -> tuple[AttachedInput, ...]:
    """`attached` with the folders of --input SLUG=FOLDER; a slug that is not among them becomes one more data set.

    A slug may be given without its owner. Raises UsageError for a folder that is missing.
    """
    found = list(attached)
    for slug, folder in folders.items():
        if not folder.is_dir():
            raise UsageError(
                f"--input {slug}: folder not found: {folder}", hint="Expected: --input SLUG=FOLDER, an existing folder."
            )
        at = next((i for i, one in enumerate(found) if slug in (one.slug, one.name)), None)
        known = AttachedInput(slug=slug) if at is None else found.pop(at)
        values = {name: getattr(known, name) for name in known.__struct_fields__}
        found.insert(len(found) if at is None else at, AttachedInput(**{**values, "path": str(folder.resolve())}))
    for one in found:
        if not one.slug.strip("/") or any(part in ("", ".", "..") for part in one.slug.split("/")):
            raise UsageError(f"{one.slug!r} is not the slug of an input.", hint='Expected: "owner/name" or "name"')
    return tuple(found)


def parse_input_options(options: Iterable[str]) -> dict[str, Path]:
    """The folders of --input SLUG=FOLDER by slug. Raises UsageError."""
    found = {}
    for option in options:
        slug, equals, folder = option.partition("=")
        if not (slug and equals and folder):
            raise UsageError(f"--input {option}: expected SLUG=FOLDER.", hint="For example: --input weights=./weights")
        found[slug] = Path(folder).expanduser()
    return found


def read_kernel_metadata(folder: Path) -> dict[str, Any]:
    """Kaggle's own description of a notebook in `folder`; empty if there is none. Raises SubmissionError."""
    path = folder / KERNEL_METADATA
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise SubmissionError(f"{path} is not JSON: {error}", hint="Write it anew: kaggle kernels init") from error
    lists = (*SOURCES, "competition_sources")
    if not isinstance(found, dict) or not all(
        isinstance(found.get(key) or [], list) and all(isinstance(slug, str) for slug in found.get(key) or [])
        for key in lists
    ):
        raise SubmissionError(f"{path}: expected an object whose {', '.join(lists)} are lists of texts.")
    return found


def attached_in(metadata: Mapping[str, Any]) -> list[AttachedInput]:
    """The inputs that a kernel-metadata.json attaches, without folders."""
    return [
        AttachedInput(slug=slug, kind=kind, url=f"{KAGGLE}{_address(kind)}/{slug}")
        for key, kind in SOURCES.items()
        for slug in metadata.get(key) or []
    ]


def _address(kind: Kind) -> str:
    return {"dataset": "datasets", "notebook": "code", "model": "models"}[kind]


def unknown_source(slug: str, attached: Iterable[AttachedInput]) -> str:
    """What to do about a folder of /kaggle/input that nothing provides."""
    return suggest(slug, [one.name for one in attached], label="Attached")


def folder_bytes(folder: Path) -> int:
    """Size of all files below `folder`; links are followed, files that vanish or are closed count as 0."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


def manifest_problems(submission: "CodeSubmission", profile: Profile) -> list[str]:
    """Problems of the manifest of `submission`, in sentences; empty if it is in order.

    Rule (competition rules, external data): pre-trained models and other data that do not come from the challenge are
    public, and at most `profile.external_data_bytes` in all. A file of the folder is listed by its path as `name`;
    attached inputs count with all their files. The licence of an input on Kaggle is on its page: it need not be listed.
    """
    listed = submission.settings.external_data
    inputs = submission.settings.inputs
    problems = [
        f"external data {entry.name!r} has no {field}"
        for entry in listed
        for field in ("licence", "url")
        if not getattr(entry, field).strip()
    ]
    problems += [
        f"input {entry.slug!r} has no {field}"
        for entry in inputs
        for field in ("licence", "url")
        if not getattr(entry, field).strip() and not (field == "licence" and entry.url.startswith(KAGGLE))
    ]
    sizes = {file.relative_to(submission.folder).as_posix(): file.stat().st_size for file in submission.files()}
    names = {entry.name for entry in listed}
    for name, size_bytes in sizes.items():
        if size_bytes > SMALL_BYTES and name not in names and f".{name.rpartition('.')[2]}" not in OWN_SUFFIXES:
            problems.append(
                f"{name} ({format_bytes(size_bytes)}) is not listed; if it is your own work, say so as its url"
            )
    problems += [
        f"{entry.name} is {sizes[entry.name]} bytes, listed as {entry.size_bytes}"
        for entry in listed
        if sizes.get(entry.name, entry.size_bytes) != entry.size_bytes
    ]
    folders = {folder for entry in inputs if (folder := entry.folder(submission.folder)) is not None}
    total_bytes = sum(entry.size_bytes for entry in listed) + sum(map(folder_bytes, folders))
    limit_bytes = profile.external_data_bytes
    if limit_bytes is not None and not total_bytes <= limit_bytes:
        problems.append(
            f"external data takes {format_bytes(total_bytes)} in all; the limit is {format_bytes(limit_bytes)}"
        )
    return problems
