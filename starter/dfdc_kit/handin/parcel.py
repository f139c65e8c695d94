"""What is sent: the program as a Kaggle notebook or script with its metadata, and the files beside it as a data set.

A script on Kaggle is one file. Whatever else the submission needs lies in /kaggle/input/<data set>/ there, which is
where `own_file` of the bundled baselines looks.
"""

import ast
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import OutputFault
from dfdc_kit.submission.code import SETTINGS_FILE, CodeSubmission, files_sha256
from dfdc_kit.submission.start import NOT_COPIED

KERNEL_FILE, DATA_SET_FILE = "kernel-metadata.json", "dataset-metadata.json"
MOST_CHARACTERS = 50  # of a title and of a slug, at Kaggle
FILES = "-files"  # a data set is called as its notebook, and this


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A code submission as Kaggle takes it."""

    slug: str  # of the notebook; that of the data set ends in `FILES`
    program: Path
    side_files: list[Path]
    side_files_sha256: str  # empty: there are none
    folder: Path  # of the submission
    competition: str
    accelerator: str  # empty: CPU

    @property
    def data_set_slug(self) -> str:
        """The data set's own name; empty where nothing travels beside the program."""
        return self.slug + FILES if self.side_files else ""

    def kernel_metadata(self, owner: str) -> dict[str, Any]:
        """What kernel-metadata.json says. Internet is written out: left out, the client would turn it on."""
        return {
            "id": f"{owner}/{self.slug}",
            "title": self.slug,  # a title that gives another slug would make another notebook
            "code_file": self.program.name,
            "language": "python",
            "kernel_type": "notebook" if self.program.suffix == ".ipynb" else "script",
            "is_private": True,
            "enable_gpu": self.accelerator.startswith("Nvidia"),
            "enable_tpu": self.accelerator.startswith("Tpu"),
            "enable_internet": False,
            **({"machine_shape": self.accelerator} if self.accelerator else {}),
            "dataset_sources": [f"{owner}/{self.data_set_slug}"] if self.data_set_slug else [],
            "competition_sources": [self.competition],
            "kernel_sources": [],
            "model_sources": [],
        }

    def data_set_metadata(self, owner: str) -> dict[str, Any]:
        """What dataset-metadata.json says; the data set is private unless it is opened by hand."""
        licences = [{"name": "other"}]  # each file's own licence stands in submission.toml
        return {"id": f"{owner}/{self.data_set_slug}", "title": self.data_set_slug, "licenses": licences}


def parcel(submission: CodeSubmission, competition: str, accelerator: str, slug: str = "") -> Parcel:
    """Sort the submission's files into the program and what travels beside it."""
    program = submission.folder / submission.settings.entry_point
    side_files = [file for file in submission.files() if file != program and _travels(file)]
    return Parcel(
        slug=slug or default_slug(submission.name),
        program=program,
        side_files=side_files,
        side_files_sha256=files_sha256(submission.folder, side_files) if side_files else "",
        folder=submission.folder,
        competition=competition,
        accelerator=accelerator,
    )


def default_slug(name: str) -> str:
    """`dfdc-<name>` in Kaggle's alphabet; a name that is too long, or loses characters, keeps a digest of its own."""
    slug = "dfdc-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    room = MOST_CHARACTERS - len(FILES)
    if len(slug) <= room and re.fullmatch(r"[A-Za-z0-9-]+", name):
        return slug
    return f"{slug[: room - 7].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def pack(one: Parcel, owner: str, folder: Path) -> tuple[Path, Path | None]:
    """Write both folders as the client wants them, below `folder`: the notebook's, and the data set's if there is one.

    Raises OutputFault.
    """
    kernel, data_set = folder / "notebook", folder / "data-set"
    try:
        for target in (kernel, data_set):
            shutil.rmtree(target, ignore_errors=True)
        kernel.mkdir(parents=True)
        shutil.copyfile(one.program, kernel / one.program.name)
        _write_json(kernel / KERNEL_FILE, one.kernel_metadata(owner))
        if not one.side_files:
            return kernel, None
        for file in one.side_files:
            target = data_set / file.relative_to(one.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        _write_json(data_set / DATA_SET_FILE, one.data_set_metadata(owner))
    except OSError as error:
        raise OutputFault(
            f"Cannot write below {folder}: {error.strerror}.", hint="Choose a folder with room: --out DIR"
        ) from error
    return kernel, data_set


def imports_from_beside(one: Parcel) -> list[str]:
    """Modules beside the program that it imports although, on Kaggle, they will not lie beside it; sorted.

    None where the program itself puts /kaggle/input on its path.
    """
    text = one.program.read_text("utf-8", errors="replace")
    if "sys.path" in text and "/kaggle/input" in text:
        return []
    modules = {path.stem if path.parent == one.folder else path.relative_to(one.folder).parts[0] for path in
               one.side_files if path.suffix == ".py"}  # fmt: skip
    return sorted(modules & _imported(_source(text, one.program.suffix)))


def _travels(file: Path) -> bool:
    return file.name not in {SETTINGS_FILE, *NOT_COPIED} and file.suffix != ".md"


def _source(text: str, suffix: str) -> str:
    """A program's text; of a notebook, its code cells without magic commands."""
    if suffix != ".ipynb":
        return text
    try:
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        return ""
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def _imported(source: str) -> set[str]:
    """Top-level names of all absolute imports; none of a text that is not Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
