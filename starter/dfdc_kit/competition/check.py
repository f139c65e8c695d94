"""Check a competition before it starts: rules, solution, its Public/Private split, and what the board will be worth."""

import math
from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from dfdc_kit import profiles
from dfdc_kit.challenge import Challenge
from dfdc_kit.competition.rules import Competition
from dfdc_kit.competition.shake_up import (
    Floats,
    Probing,
    ShakeUp,
    probing,
    shake_up_of_losses,
    shake_up_of_model,
)
from dfdc_kit.csv_text import Texts
from dfdc_kit.data.labels import IGNORED
from dfdc_kit.data.solution import Solution
from dfdc_kit.errors import KitError, UsageError
from dfdc_kit.formatting import join_names, plural
from dfdc_kit.scoring.intervals import PAIRED_SD, smallest_difference

PARTS_TRIED = 500  # random divisions of which the most balanced one is taken
FAR = 0.02  # from the public fraction, or between the class balances
SIMULATIONS = 1_000


class RuleFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something about the competition that is wrong, or worth a thought."""

    level: Literal["error", "warning"]
    what: str


class CompetitionCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The findings, and what the public board will be worth."""

    findings: list[RuleFinding]
    public_videos: int
    private_videos: int
    public_difference: float | None  # between two teams, that these rows show with 80 % power; None: no log loss
    private_difference: float | None
    shake_up: ShakeUp | None  # None: not simulated for this metric
    probing: list[Probing]  # empty: not simulated for this metric


def check_competition(
    rules: Competition,
    challenge: Challenge,
    solution: Solution,
    originals: list[str] | None = None,
    losses: Floats | None = None,
    seed: int = 0,
) -> CompetitionCheck:
    """Check rules and solution; originals (n_solution,), losses (n_rows, n_teams) of real predictions, or None."""
    findings = [*_rule_findings(rules), *_split_findings(rules, solution, originals)]
    usage = solution.usage
    counted = len(solution.ids) if usage is None else int((usage != IGNORED).sum())
    public = round(counted * rules.scores.public_fraction) if usage is None else int((usage == b"Public").sum())
    private = counted - public
    is_log_loss = challenge.metric.is_log_loss
    shake = None
    if public and private and (losses is not None or is_log_loss):
        if losses is None:
            shake = shake_up_of_model(public, private, SIMULATIONS, seed)
        else:
            shake = shake_up_of_losses(losses, public, private, SIMULATIONS, seed)
    step = rules.scores.ladder_step or PAIRED_SD / math.sqrt(max(public, 1))
    submissions = _public_submissions(rules)
    probed = []
    if is_log_loss and public and submissions:
        probed = probing(public, submissions, challenge.metric.displayed_decimals, step, seed)
    sizes = [smallest_difference(PAIRED_SD / math.sqrt(n)) if is_log_loss and n else None for n in (public, private)]
    return CompetitionCheck(
        findings=findings,
        public_videos=public,
        private_videos=private,
        public_difference=sizes[0],
        private_difference=sizes[1],
        shake_up=shake,
        probing=probed,
    )


def _public_submissions(rules: Competition) -> int:
    """How many submissions a team may make while the public board is shown."""
    days = sum((phase.end - phase.start).days + 1 for phase in rules.phases if phase.kind == "public")
    return days * rules.quota.daily


def _rule_findings(rules: Competition) -> Iterator[RuleFinding]:
    for phase in rules.phases:
        try:
            profiles.load(phase.profile)
        except KitError as error:
            yield RuleFinding(level="error", what=f"phase {phase.name!r}: {error}")
    for kind in ("public", "private-rerun"):
        if rules.phase(kind) is None:
            yield RuleFinding(level="warning", what=f"there is no phase of the kind {kind}")
    terms = rules.eligibility
    if terms.external_data:
        for name in ("external_data_licence", "external_data_disclosed_by", "consent"):
            if not getattr(terms, name):
                what = f"external data is allowed, but eligibility.{name} is not stated"
                yield RuleFinding(level="warning", what=what)
    if rules.prizes and not terms.open_code:
        yield RuleFinding(
            level="warning", what="prizes are paid for code that nobody else can check: open_code is false"
        )


def _split_findings(rules: Competition, solution: Solution, originals: list[str] | None) -> Iterator[RuleFinding]:
    usage = solution.usage
    if usage is None:
        yield RuleFinding(level="error", what="the solution has no column Usage: write one with --split FILE")
        return
    public, private = usage == b"Public", usage == b"Private"
    for name, rows in (("Public", public), ("Private", private)):
        if not rows.any():
            yield RuleFinding(level="error", what=f"the solution has no {name} row")
        elif len(set(solution.labels[rows].tolist())) < 2:
            yield RuleFinding(level="error", what=f"all {name} rows have the same label")
    if not public.any() or not private.any():
        return
    fraction = float(public.sum() / (public | private).sum())
    if abs(fraction - rules.scores.public_fraction) > FAR:
        wanted = f"{rules.scores.public_fraction:.1%}"
        yield RuleFinding(level="warning", what=f"{fraction:.1%} of the rows are Public, the rules say {wanted}")
    balances = [float(solution.labels[rows].mean()) for rows in (public, private)]
    if abs(balances[0] - balances[1]) > FAR:
        what = f"the classes differ: {balances[0]:.1%} of Public and {balances[1]:.1%} of Private are positive"
        yield RuleFinding(level="warning", what=what)
    if originals is None:
        what = "originals are not known: a fake may be Public and another one of the same video Private; --originals"
        yield RuleFinding(level="warning", what=what)
        return
    names = np.array(originals)
    if divided := sorted(set(names[public]) & set(names[private])):
        what = f"{plural(len(divided), 'original')} in both parts ({join_names(divided, 3)}): write another --split"
        yield RuleFinding(level="error", what=what)


def split_usage(
    labels: npt.NDArray[np.uint8], groups: list[str], public_fraction: float, seed: int
) -> npt.NDArray[np.bytes_]:
    """Public or Private (n,) for each row; the rows of a group (n,) stay together.

    Of many random divisions of about that fraction, the one whose classes are most alike is taken. Raises UsageError if
    no division leaves rows in both parts.
    """
    names, codes, sizes = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    positive = np.bincount(codes, labels, len(names))
    random, best, distance = np.random.default_rng(seed), None, math.inf
    for _ in range(PARTS_TRIED):
        order = random.permutation(len(names))
        rows = np.cumsum(sizes[order])
        taken = int(np.abs(rows - public_fraction * len(labels)).argmin()) + 1
        if taken == len(names):
            continue
        inside = order[:taken]
        share = positive[inside].sum() / sizes[inside].sum()
        rest = (positive.sum() - positive[inside].sum()) / (len(labels) - sizes[inside].sum())
        off = abs(share - rest) + abs(rows[taken - 1] / len(labels) - public_fraction)
        if off < distance:
            best, distance = inside, off
    if best is None:
        raise UsageError(
            f"{plural(len(names), 'original')}: no division leaves videos in both parts.",
            hint="At least two are needed; --originals says which videos belong together.",
        )
    return np.where(np.isin(codes, best), b"Public", b"Private")


def solution_csv(solution: Solution, usage: npt.NDArray[np.bytes_]) -> bytes:
    """The solution with this column Usage; Ignored rows stay Ignored."""
    kept: Texts = usage if solution.usage is None else np.where(solution.usage == IGNORED, IGNORED, usage)
    row_id, label = solution.columns
    table = zip(solution.ids.tolist(), solution.labels.tolist(), kept.tolist(), strict=True)
    rows = [b"%s,%d,%s\n" % row for row in table]
    return f"{row_id},{label},Usage\n".encode() + b"".join(rows)
