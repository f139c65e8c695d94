"""What is sent to Kaggle: the submission's files as a dataset, and a notebook that runs them as `dfdc run` does.

Kaggle's client drops some files of a dataset without a message (`datapackage.json`, `.cache/`, ...), and Kaggle unpacks
archives. So all files travel in one archive with a neutral suffix; `hosted_main.py` unpacks it, compares every file
with its digest, and runs the program. A submission that is a notebook is pushed itself, with a first cell that does the
same.
"""

import hashlib
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import OutputError, SubmissionError
from dfdc_kit.files import file_sha256, write_json
from dfdc_kit.submission import program_runner
from dfdc_kit.submission.code import CodeSubmission, files_sha256
from dfdc_kit.submission.external_data import AttachedInput, Kind

KERNEL_FILE, DATASET_FILE = "kernel-metadata.json", "dataset-metadata.json"
HOSTED_MAIN = Path(__file__).with_name("hosted_main.py")
MOST_CHARACTERS = 50  # of a title and of a slug, at Kaggle
FILES = "-files"  # suffix of the dataset's slug
ARCHIVE = "submission-files.bin"  # a tar; by its suffix, Kaggle would unpack it
INSIDE = "submission"  # the folder in it
RUNNER = ".dfdc-runner.py"  # added to the files of a script with notebook syntax
KERNELSPEC = {"name": "python3", "language": "python", "display_name": "Python 3"}


class KernelBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A code submission in the form that Kaggle takes."""

    slug: str  # of the notebook; that of the dataset ends in `FILES`
    program: Path
    files: list[Path]  # sent as a dataset
    files_sha256: str  # empty: there are none
    folder: Path  # of the submission
    competition: str
    accelerator: str  # empty: CPU
    arguments: list[str] = []  # of the program
    inputs: tuple[AttachedInput, ...] = ()

    @property
    def dataset_slug(self) -> str:
        """The dataset's slug; empty for a notebook without other files."""
        return self.slug + FILES if self.files else ""

    def dataset(self, owner: str) -> str:
        """The dataset as owner/slug; empty if there is none."""
        return f"{owner}/{self.dataset_slug}" if self.files else ""

    def code(self, owner: str) -> str:
        """What is pushed: a script that runs the program, or the notebook with a first cell."""
        digests = {self._name(file): file_sha256(file) for file in self.files}
        given = f"{json.dumps(self.competition)}, {json.dumps(self.dataset(owner))}, {json.dumps(digests, indent=0)}"
        runner = HOSTED_MAIN.read_text("utf-8")
        if self.is_notebook:
            return with_first_cell(self.program.read_bytes(), f"{runner}\n\nprepare({given})\n")
        command = [self._name(self.program), *self.arguments]
        with_runner = f", {RUNNER!r}" if self.needs_runner else ""
        return f"{runner}\n\nmain({given}, {json.dumps(command)}{with_runner})\n"

    @property
    def code_file(self) -> str:
        """The name of what is pushed."""
        return self.program.name if self.is_notebook else HOSTED_MAIN.name

    @property
    def is_notebook(self) -> bool:
        """Whether the program is a notebook."""
        return self.program.suffix == ".ipynb"

    @property
    def needs_runner(self) -> bool:
        """Whether the program is a script with notebook syntax, which runs through IPython as it does here."""
        return not self.is_notebook and program_runner.needs_ipython(self.program)

    def kernel_metadata(self, owner: str) -> dict[str, Any]:
        """The content of kernel-metadata.json. Internet is set to false: without the field, the client turns it on."""
        return {
            "id": f"{owner}/{self.slug}",
            "title": self.slug,  # a title with another slug would make another notebook
            "code_file": self.code_file,
            "language": "python",
            "kernel_type": "notebook" if self.is_notebook else "script",
            "is_private": True,
            "enable_gpu": self.accelerator.startswith("Nvidia"),
            "enable_tpu": self.accelerator.startswith("Tpu"),
            "enable_internet": False,
            **({"machine_shape": self.accelerator} if self.accelerator else {}),
            "dataset_sources": [*([self.dataset(owner)] if self.files else []), *self._attached("dataset")],
            "competition_sources": [self.competition],
            "kernel_sources": self._attached("notebook"),
            "model_sources": self._attached("model"),
        }

    def dataset_metadata(self, owner: str) -> dict[str, Any]:
        """The content of dataset-metadata.json; the dataset is private unless it is published by hand."""
        licences = [{"name": "other"}]  # each file's own licence is in submission.toml
        return {"id": f"{owner}/{self.dataset_slug}", "title": self.dataset_slug, "licenses": licences}

    def _attached(self, kind: Kind) -> list[str]:
        return [one.slug for one in self.inputs if one.kind == kind]

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


def kernel_bundle(submission: CodeSubmission, competition: str, accelerator: str, slug: str = "") -> KernelBundle:
    """The bundle of `submission`: all its files, as they are run here. `slug` overrides `default_slug`."""
    program = submission.folder / submission.program
    files = submission.files()
    if program.suffix == ".ipynb":
        files.remove(program)
    return KernelBundle(
        slug=slug or default_slug(submission.name),
        program=program,
        files=files,
        files_sha256=files_sha256(submission.folder, files) if files else "",
        folder=submission.folder,
        competition=competition,
        accelerator=accelerator,
        arguments=submission.arguments,
        inputs=submission.settings.inputs,
    )


def default_slug(name: str) -> str:
    """`dfdc-<name>` in Kaggle's alphabet; a name that is too long, or loses characters, gets a digest of its own."""
    slug = "dfdc-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    most = MOST_CHARACTERS - len(FILES)
    if len(slug) <= most and re.fullmatch(r"[A-Za-z0-9-]+", name):
        return slug
    return f"{slug[: most - 7].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def pack(bundle: KernelBundle, owner: str, folder: Path) -> tuple[Path, Path | None]:
    """Write two folders below `folder` for the client: the notebook's, and the dataset's if there is one.

    Raises OutputError, or SubmissionError for an invalid notebook.
    """
    kernel, dataset = folder / "notebook", folder / "dataset"
    try:
        for target in (kernel, dataset):
            shutil.rmtree(target, ignore_errors=True)
        kernel.mkdir(parents=True)
        (kernel / bundle.code_file).write_text(bundle.code(owner), "utf-8")
        write_json(kernel / KERNEL_FILE, bundle.kernel_metadata(owner))
        if not bundle.files:
            return kernel, None
        dataset.mkdir()
        with tarfile.open(dataset / ARCHIVE, "w", dereference=True) as archive:
            for file in bundle.files:
                archive.add(file, f"{INSIDE}/{file.relative_to(bundle.folder).as_posix()}")
            if bundle.needs_runner:
                archive.add(Path(program_runner.__file__), f"{INSIDE}/{RUNNER}")
        write_json(dataset / DATASET_FILE, bundle.dataset_metadata(owner))
    except OSError as error:
        if error.filename and Path(error.filename).is_relative_to(bundle.folder):
            raise SubmissionError(f"Cannot read {error.filename}: {error.strerror}.") from error
        hint = "Choose a folder with enough space: --out DIR"
        raise OutputError(f"Cannot write below {folder}: {error.strerror}.", hint=hint) from error
    return kernel, dataset


def with_first_cell(notebook: bytes, source: str) -> str:
    """A notebook, as text, with a code cell in front, for Kaggle's kernel python3. Raises SubmissionError.

    Metadata of other tools is dropped: a kernel that Kaggle does not have, or what Kaggle itself had exported, would
    contradict kernel-metadata.json.
    """
    cell = _code_cell(source)
    try:
        content = json.loads(notebook)
        if "worksheets" in content:
            content = {"cells": [_as_today(old) for sheet in content["worksheets"] for old in sheet["cells"]]}
        content["cells"].insert(0, cell)
        content.setdefault("nbformat", 4)
        if (content["nbformat"], content.setdefault("nbformat_minor", 4)) >= (4, 5):
            cell["id"] = "dfdc-first-cell"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = "The notebook cannot be read: expected JSON with a list of cells."
        raise SubmissionError(message, hint="Save it again in Jupyter.") from error
    content["metadata"] = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    return json.dumps(content)


def _as_today(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell of nbformat 3 (IPython until 2015) as one of nbformat 4, without its output."""
    if cell["cell_type"] == "code":
        return _code_cell(cell["input"])
    kind = cell["cell_type"] if cell["cell_type"] in ("markdown", "raw") else "markdown"
    return {"cell_type": kind, "metadata": {}, "source": cell["source"]}


def _code_cell(source: str | list[str]) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
