"""What the audit's rules look at and return, and how much the container gives away.

That is measured by a model of two header fields, or by an exact test where there are few videos.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.csv_text import CsvText
from dfdc_kit.data.catalogue import Catalogue
from dfdc_kit.data.inspection import Inspection
from dfdc_kit.data.split import Split, SplitPlan, find_working_plan, hash_fraction, split
from dfdc_kit.data.split_files import split_command
from dfdc_kit.data.video_header import Header

# ----------------------------------------------------------------------------------------------- the container's fields

CROSS_VALIDATION_FOLDS = 5
MIN_ORIGINALS = 10  # of each class, for the cross-validated model; with fewer, the exact test is used
PRIOR = 1.0  # videos of each class that every cell begins with: a cell seen once says little
MIN_STANDARD_ERRORS = 2.0
MAX_P = 0.01  # of the exact test, multiplied by the number of tests
LN2 = math.log(2)

Fields = tuple[str, str]  # display aspect ratio, audio time base


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Videos with the same two fields; "" means not stated by the container."""

    display_aspect_ratio: str
    audio_time_base: str
    fake: int
    real: int
    probability: float  # of FAKE, if both classes were equally frequent


class ContainerLeak(msgspec.Struct, frozen=True, kw_only=True):
    """The two-field model: its log loss on held-out originals, both classes weighted equally, and its table."""

    videos: int
    originals: int
    log_loss: float
    standard_error: float
    constant: float  # log loss of 0.5 for every video
    cells: list[Cell]

    @property
    def is_significant(self) -> bool:
        """Whether the model beats the constant by more than chance would."""
        return self.log_loss + MIN_STANDARD_ERRORS * self.standard_error < self.constant


class ExactTest(msgspec.Struct, frozen=True, kw_only=True):
    """Fisher's exact test of one value of one field against the class."""

    field: str
    value: str  # "" means not stated
    fake: int  # FAKE videos with the value
    fake_total: int
    real: int
    real_total: int
    p_value: float  # two-sided, multiplied by the number of tests, at most 1

    @property
    def is_significant(self) -> bool:
        """Whether chance is an unlikely explanation."""
        return self.p_value < MAX_P


def enough_originals(fake: npt.NDArray[np.bool_], originals: Sequence[str]) -> bool:
    """Whether the cross-validated model can say something; fake and originals are (n,)."""
    of_class = (
        {name for name, is_fake in zip(originals, fake.tolist(), strict=True) if is_fake is c} for c in (True, False)
    )
    return min(map(len, of_class)) >= MIN_ORIGINALS


def measure_leak(
    headers: Sequence[Header], fake: npt.NDArray[np.bool_], originals: Sequence[str]
) -> ContainerLeak | None:
    """Fit and cross-validate; headers, fake and originals are (n,). None if there are too few originals."""
    if not enough_originals(fake, originals):
        return None
    pairs = [(header.display_aspect_ratio, header.audio_time_base) for header in headers]
    _, group = np.unique(np.array(originals, np.str_), return_inverse=True)
    loss, error = _held_out_loss(pairs, fake, originals, group)
    counts = Counter(zip(pairs, fake.tolist(), strict=True))
    cells = [
        Cell(
            display_aspect_ratio=pair[0],
            audio_time_base=pair[1],
            fake=counts[pair, True],
            real=counts[pair, False],
            probability=probability,
        )
        for pair, probability in fit(pairs, fake).items()
    ]
    return ContainerLeak(
        videos=len(fake),
        originals=int(group.max()) + 1,
        log_loss=loss,
        standard_error=error,
        constant=LN2,
        cells=sorted(cells, key=lambda cell: cell.fake + cell.real, reverse=True),
    )


def exact_tests(headers: Sequence[Header], fake: npt.NDArray[np.bool_]) -> list[ExactTest]:
    """Fisher's exact test for each value of both fields, most significant first; headers and fake are (n,).

    Empty where even a perfect association would not be significant: one class is missing, or there are too few videos.
    """
    from scipy.stats import fisher_exact

    fakes, reals = int(fake.sum()), int((~fake).sum())
    values = {
        (name, value): np.array([getattr(header, name) == value for header in headers])
        for name in ("display_aspect_ratio", "audio_time_base")
        for value in sorted({getattr(header, name) for header in headers})
    }
    if not fakes or not reals or len(values) / math.comb(fakes + reals, reals) >= MAX_P:
        return []
    tests = []
    for (name, value), has_value in values.items():
        both = int((has_value & fake).sum()), int((has_value & ~fake).sum())
        p_value = float(fisher_exact([both, (fakes - both[0], reals - both[1])]).pvalue)
        tests.append(
            ExactTest(
                field=name.replace("_", " "),
                value=value,
                fake=both[0],
                fake_total=fakes,
                real=both[1],
                real_total=reals,
                p_value=min(p_value * len(values), 1.0),
            )
        )
    return sorted(tests, key=lambda test: test.p_value)


def fit(values: Sequence[Fields], fake: npt.NDArray[np.bool_]) -> dict[Fields, float]:
    """The probability of FAKE for each value (n,), as if both classes were equally frequent; unseen values get 0.5."""
    fakes = int(fake.sum())
    weight = (len(fake) - fakes) / max(fakes, 1)  # of a FAKE video relative to a REAL one
    count = Counter(zip(values, fake.tolist(), strict=True))
    table = {}
    for value in dict.fromkeys(values):
        for_fake, for_real = count[value, True] * weight + PRIOR, count[value, False] + PRIOR
        table[value] = for_fake / (for_fake + for_real)
    return table


def _held_out_loss(
    values: Sequence[Fields], fake: npt.NDArray[np.bool_], originals: Sequence[str], group: npt.NDArray[np.intp]
) -> tuple[float, float]:
    """Mean loss, both classes weighted equally, and its standard error; an original is one observation."""
    fold = np.array([int(hash_fraction(original, 0) * CROSS_VALIDATION_FOLDS) for original in originals])
    p = np.full(len(fake), 0.5)
    for held in range(CROSS_VALIDATION_FOLDS):
        train = fold != held
        table = fit([value for value, use in zip(values, train.tolist(), strict=True) if use], fake[train])
        for i in np.flatnonzero(~train).tolist():
            p[i] = table.get(values[i], 0.5)
    loss = -np.log(np.where(fake, p, 1 - p))
    weight = np.where(fake, 0.5 / fake.sum(), 0.5 / (~fake).sum())
    of_class = np.where(fake, loss[fake].mean(), loss[~fake].mean())
    deviation = np.bincount(group, weight * (loss - of_class))
    return float(weight @ loss), float(np.sqrt((deviation**2).sum() * len(deviation) / (len(deviation) - 1)))


# ------------------------------------------------------------------------------------------------ evidence and findings

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
