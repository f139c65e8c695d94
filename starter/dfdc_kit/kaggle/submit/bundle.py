"""What is sent: the files of the submission as a data set, and a notebook that runs them as the harness does here.

A script at Kaggle is one file, and where data is mounted has changed since 2020. So the program travels in the data
set with everything beside it, and what is pushed is `hosted_main.py`, which finds both and runs it. A submission that
is a notebook is pushed itself, with a first cell that does the same.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec

from dfdc_kit.errors import OutputError, SubmissionError
from dfdc_kit.files import write_json
from dfdc_kit.submission.code import NOT_COPIED, SETTINGS_FILE, CodeSubmission, files_sha256

KERNEL_FILE, DATA_SET_FILE = "kernel-metadata.json", "dataset-metadata.json"
HOSTED_MAIN = Path(__file__).with_name("hosted_main.py")
LEFT_HERE = {SETTINGS_FILE, *NOT_COPIED}
MOST_CHARACTERS = 50  # of a title and of a slug, at Kaggle
FILES = "-files"  # a data set is called as its notebook, and this


class KernelBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A code submission as Kaggle takes it."""

    slug: str  # of the notebook; that of the data set ends in `FILES`
    program: Path
    files: list[Path]  # that travel as a data set
    files_sha256: str  # empty: there are none
    folder: Path  # of the submission
    competition: str
    accelerator: str  # empty: CPU

    @property
    def data_set_slug(self) -> str:
        """The data set's own name; empty for a notebook with nothing beside it."""
        return self.slug + FILES if self.files else ""

    def data_set(self, owner: str) -> str:
        """The data set as owner/slug; empty if there is none."""
        return f"{owner}/{self.data_set_slug}" if self.files else ""

    def code(self, owner: str) -> str:
        """What is pushed: a script that runs the program, or the notebook with a cell in front."""
        runner = HOSTED_MAIN.read_text("utf-8")
        given = [self.competition, self.data_set(owner)]
        if self.is_notebook:
            return with_first_cell(self.program.read_bytes(), f"{runner}\n\nprepare({_arguments(*given)})\n")
        return f"{runner}\n\nmain({_arguments(*given, self.program.relative_to(self.folder).as_posix())})\n"

    @property
    def code_file(self) -> str:
        """The name of what is pushed."""
        return self.program.name if self.is_notebook else HOSTED_MAIN.name

    @property
    def is_notebook(self) -> bool:
        """Whether the program is a notebook."""
        return self.program.suffix == ".ipynb"

    def kernel_metadata(self, owner: str) -> dict[str, Any]:
        """What kernel-metadata.json says. Internet is written out: left out, the client would turn it on."""
        return {
            "id": f"{owner}/{self.slug}",
            "title": self.slug,  # a title that gives another slug would make another notebook
            "code_file": self.code_file,
            "language": "python",
            "kernel_type": "notebook" if self.is_notebook else "script",
            "is_private": True,
            "enable_gpu": self.accelerator.startswith("Nvidia"),
            "enable_tpu": self.accelerator.startswith("Tpu"),
            "enable_internet": False,
            **({"machine_shape": self.accelerator} if self.accelerator else {}),
            "dataset_sources": [self.data_set(owner)] if self.files else [],
            "competition_sources": [self.competition],
            "kernel_sources": [],
            "model_sources": [],
        }

    def data_set_metadata(self, owner: str) -> dict[str, Any]:
        """What dataset-metadata.json says; the data set is private unless it is opened by hand."""
        licences = [{"name": "other"}]  # each file's own licence stands in submission.toml
        return {"id": f"{owner}/{self.data_set_slug}", "title": self.data_set_slug, "licenses": licences}


def kernel_bundle(submission: CodeSubmission, competition: str, accelerator: str, slug: str = "") -> KernelBundle:
    """Choose the submission's files that travel: not its settings, its pages, or what only tests need."""
    program = submission.folder / submission.settings.entry_point
    files = [file for file in submission.files() if file.name not in LEFT_HERE and file.suffix != ".md"]
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
    )


def default_slug(name: str) -> str:
    """`dfdc-<name>` in Kaggle's alphabet; a name that is too long, or loses characters, keeps a digest of its own."""
    slug = "dfdc-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    room = MOST_CHARACTERS - len(FILES)
    if len(slug) <= room and re.fullmatch(r"[A-Za-z0-9-]+", name):
        return slug
    return f"{slug[: room - 7].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def pack(one: KernelBundle, owner: str, folder: Path) -> tuple[Path, Path | None]:
    """Write both folders as the client wants them, below `folder`: the notebook's, and the data set's if there is one.

    Raises OutputError, or SubmissionError for a notebook that is none.
    """
    kernel, data_set = folder / "notebook", folder / "data-set"
    try:
        for target in (kernel, data_set):
            shutil.rmtree(target, ignore_errors=True)
        kernel.mkdir(parents=True)
        (kernel / one.code_file).write_text(one.code(owner), "utf-8")
        write_json(kernel / KERNEL_FILE, one.kernel_metadata(owner))
        if not one.files:
            return kernel, None
        for file in one.files:
            target = data_set / file.relative_to(one.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        write_json(data_set / DATA_SET_FILE, one.data_set_metadata(owner))
    except OSError as error:
        raise OutputError(
            f"Cannot write below {folder}: {error.strerror}.", hint="Choose a folder with room: --out DIR"
        ) from error
    return kernel, data_set


def with_first_cell(notebook: bytes, source: str) -> str:
    """A notebook, as text, with a code cell in front. Raises SubmissionError."""
    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source,
    }
    try:
        content = json.loads(notebook)
        content["cells"].insert(0, cell)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SubmissionError(
            "The notebook cannot be read: expected JSON with a list of cells.", hint="Save it again in Jupyter"
        ) from error
    return json.dumps(content)


def _arguments(*values: str) -> str:
    return ", ".join(json.dumps(value) for value in values)
