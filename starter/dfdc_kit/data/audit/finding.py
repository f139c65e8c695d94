"""A finding of the audit, and the evidence it is drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from dfdc_kit.challenge import Challenge
from dfdc_kit.csvtext import CsvText
from dfdc_kit.data.audit.leak import Leak
from dfdc_kit.data.catalogue import Catalogue
from dfdc_kit.data.verify.inspection import Inspection

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
FIRST = 5  # examples of each finding


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that makes a score lie, or a run stumble."""

    code: str
    severity: Severity
    what: str
    count: int
    examples: list[str]  # the first few
    mend: str  # what to do


def finding(code: str, severity: Severity, what: str, examples: list[str], mend: str) -> Finding:
    """A finding whose count is that of its `examples`, of which the first few are kept."""
    return Finding(code=code, severity=severity, what=what, count=len(examples), examples=examples[:FIRST], mend=mend)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the rules look at.

    sides: of each video of the split, by name, where a split was given; side (n,): of each video of the catalogue;
    public_test: names of the public test's videos; videos: what was seen of the files on disk, by path, empty where
    none were opened; copies: groups of files with the same bytes.
    """

    challenge: Challenge
    catalogue: Catalogue
    sides: Mapping[str, str] | None
    side: list[str | None]
    public_test: frozenset[str]
    on_disk: Mapping[Path, frozenset[str]]  # names of the videos in each folder that metadata is about
    videos: Mapping[Path, Inspection]
    copies: list[list[Path]]
    leak: Leak | None
    submission: CsvText | None
