"""What the audit's rules look at, and what they return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import CsvText
from dfdc_kit.data.audit.container_leak import ContainerLeak, ExactTest
from dfdc_kit.data.catalogue import Catalogue
from dfdc_kit.data.inspection import Inspection
from dfdc_kit.data.split import Split, SplitPlan, find_working_plan, split
from dfdc_kit.data.split_files import split_command

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class AuditFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that makes a score worthless, or training and runs less reliable."""

    code: str
    severity: Severity
    what: str
    count: int
    examples: list[str]
    fix: str  # what to do
    command: str = ""  # the next command to type, where there is one


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of one rule."""

    rule: str
    outcome: Literal["passed", "found", "not tested"]
    reason: str = ""  # why it was not tested


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the rules look at.

    folds: fold of each video of the split, by name, where a split was given; fold (n,): of each video of the catalogue;
    public_test: names of the public test's videos; videos: inspections of the files on disk, by path, empty where none
    were opened; copies: groups of files with the same bytes.
    """

    paths: Sequence[Path]
    challenge: Challenge
    catalogue: Catalogue
    folds: Mapping[str, str] | None
    fold: list[str | None]
    public_test: frozenset[str]
    on_disk: Mapping[Path, frozenset[str]]  # names of the videos in each folder that labels are about
    videos: Mapping[Path, Inspection]
    copies: list[list[Path]]
    leak: ContainerLeak | None  # None: too few originals
    exact_tests: list[ExactTest]  # where there are too few originals for `leak`
    submission: CsvText | None

    def split_command(self, *, by: str = "auto", balance: bool = False) -> str:
        """A `dfdc data split` command that works on this data and gives both classes in both folds; else empty."""
        names = [sorted({path.name for path in group}) for group in self.copies]

        def make(plan: SplitPlan) -> Split:
            return split(self.catalogue, plan, self.challenge, self.public_test, names)

        plan = find_working_plan(make, SplitPlan(by=by, balance=balance))
        return "" if plan is None else split_command(self.paths, None, plan)


def finding(code: str, severity: Severity, what: str, examples: list[str], fix: str, command: str = "") -> AuditFinding:
    """A finding whose count is that of its `examples`."""
    return AuditFinding(
        code=code, severity=severity, what=what, count=len(examples), examples=examples, fix=fix, command=command
    )


def split_advice(evidence: Evidence, fix: str, *, by: str = "auto", balance: bool = False) -> tuple[str, str]:
    """`fix` and a command that works, or what is needed for one to work."""
    command = evidence.split_command(by=by, balance=balance)
    return (
        (fix, command) if command else (f"{fix} These videos are too few for both classes in both folds: add some.", "")
    )
