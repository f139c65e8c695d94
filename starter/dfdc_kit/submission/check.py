"""Check a submission's code before it runs, without executing any of it: imports, paths, files written, habits."""

import shutil
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from dfdc_kit.challenge import Challenge
from dfdc_kit.profiles import Profile
from dfdc_kit.submission.code import CodeSubmission
from dfdc_kit.submission.packages import HostedPackages, hosted_packages
from dfdc_kit.submission.program import Program, Where, read_program


class Level(StrEnum):
    """How sure a finding is: an error ends the run or the score; a warning may; a note is information."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class OnKaggle(StrEnum):
    """What Kaggle would do with the code as it is."""

    FAILS = "fails"
    WORKS = "works"
    SCORES_BADLY = "scores badly"
    DEPENDS = "depends"


class CodeFinding(Struct, frozen=True):
    """One finding: where it is, what is wrong, how to fix it, and whether Kaggle would mind."""

    code: str
    level: Level
    file: str
    cell: int  # number of the code cell of a notebook, from 1; 0: not a notebook
    line: int  # in the file or cell, from 1
    reason: str
    fix: str
    on_kaggle: OnKaggle

    @property
    def where(self) -> str:
        """File, cell and line, as a person reads them."""
        return str(Where(self.file, self.cell, self.line))


class CodeCheck(Struct, frozen=True):
    """All findings about one submission, errors first."""

    submission: str
    profile: str
    files: list[str]
    findings: list[CodeFinding]

    @property
    def warnings(self) -> list[CodeFinding]:
        """The findings that are no mere notes."""
        return [finding for finding in self.findings if finding.level is not Level.NOTE]


class CheckContext(Struct, frozen=True):
    """What the rules compare a program with.

    inputs: what is mounted below /kaggle/input besides the competition, by path there, each with its folder here.
    entry, arguments: the entry point. alone: the program is the whole submission.
    """

    program: Program
    challenge: Challenge
    hosted: HostedPackages | None
    inputs: Mapping[str, Path | None]
    declared: frozenset[str]  # canonical names of the packages in submission.toml
    folder: Path
    entry: str
    arguments: list[str]
    alone: bool
    gpu_here: bool
    gpu_wanted: bool


def check_code(
    submission: CodeSubmission,
    challenge: Challenge,
    profile: Profile,
    *,
    profile_name: str = "",
    gpu_here: bool | None = None,
) -> CodeCheck:
    """Read the submission's source and apply every rule; takes well under 2 s, executes nothing.

    gpu_here: whether this machine has a GPU; None: look.
    """
    from dfdc_kit.submission.check_rules import RULES
    from dfdc_kit.submission.packages import canonical, distributions

    program = read_program(submission.folder, submission.program, alone=submission.alone)
    context = CheckContext(
        program=program,
        challenge=challenge,
        hosted=hosted_packages(profile),
        inputs={
            point: attached.folder(submission.folder)
            for attached in submission.settings.inputs
            for point in attached.mount_points
        },
        declared=frozenset(canonical(name) for name in distributions(submission.settings.packages)),
        folder=submission.folder,
        entry=submission.program,
        arguments=submission.arguments,
        alone=submission.alone,
        gpu_here=has_gpu() if gpu_here is None else gpu_here,
        gpu_wanted=submission.settings.gpu,
    )
    found = {
        (finding.code, finding.file, finding.cell, finding.line, finding.reason): finding
        for rule in RULES
        for finding in rule(context)
    }
    order = list(Level)
    findings = sorted(found.values(), key=lambda one: (order.index(one.level), one.file, one.cell, one.line, one.code))
    files = list(dict.fromkeys(unit.file for unit in program.units))
    return CodeCheck(submission=submission.name, profile=profile_name, files=files, findings=findings)


def make_finding(
    code: str, level: Level, where: Where, reason: str, fix: str, on_kaggle: OnKaggle = OnKaggle.FAILS
) -> CodeFinding:
    """A finding at a place of the source."""
    return CodeFinding(code, level, where.file, where.cell, where.line, reason, fix, on_kaggle)


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU, as far as a look at its devices tells."""
    return Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
