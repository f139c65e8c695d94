"""Check a competition before it starts: rules, solution, its Public/Private split, and what the board will be worth."""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import msgspec
import numpy as np

from dfdc_kit import profiles
from dfdc_kit.challenge import Challenge
from dfdc_kit.competition.predictions import Predictions
from dfdc_kit.competition.rules import Competition
from dfdc_kit.competition.shake_up import (
    Probing,
    ShakeUp,
    probing,
    shake_up_of_losses,
    shake_up_of_model,
    shake_up_of_scores,
)
from dfdc_kit.csv_text import as_text
from dfdc_kit.data.labels import IGNORED, USAGE
from dfdc_kit.data.solution import Solution
from dfdc_kit.errors import KitError, MetricError, UsageError
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
    predictions: Predictions | None = None,
    seed: int = 0,
) -> CompetitionCheck:
    """Check rules and solution, with real predictions or None. Raises UsageError for those of one team."""
    findings = [*_rule_findings(rules), *_split_findings(rules, solution)]
    usage = solution.usage
    counted = len(solution.ids) if usage is None else int((usage != IGNORED).sum())
    public = round(counted * rules.scores.public_fraction) if usage is None else int((usage == b"Public").sum())
    private = counted - public
    is_log_loss = challenge.metric.is_log_loss
    shake = None
    if public and private and predictions is not None:
        if predictions.losses is not None:
            shake = shake_up_of_losses(predictions.losses, public, private, SIMULATIONS, seed)
        else:
            sign = 1 if challenge.metric.lower_is_better else -1
            try:
                shake = shake_up_of_scores(predictions.scorer(), sign, public, private, seed)
            except MetricError as error:
                findings.append(RuleFinding(level="warning", what=f"the shake-up could not be simulated: {error}"))
    elif public and private and is_log_loss:
        shake = shake_up_of_model(public, private, SIMULATIONS, seed)
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


def _split_findings(rules: Competition, solution: Solution) -> Iterator[RuleFinding]:
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
    if solution.originals is None:
        what = "originals are not known: a fake may be Public and another one of the same video Private; --originals"
        yield RuleFinding(level="warning", what=what)
        return
    if divided := sorted(set(as_text(solution.originals[public])) & set(as_text(solution.originals[private]))):
        what = f"{plural(len(divided), 'original')} in both parts ({join_names(divided, 3)}): write another --split"
        yield RuleFinding(level="error", what=what)


def split_solution(solution: Solution, public_fraction: float, seed: int) -> Solution:
    """The solution with a new Usage: Public or Private, all videos of an original alike; Ignored rows stay Ignored.

    Of many random divisions of about that fraction, the one whose classes are most alike is taken. Raises UsageError if
    no division leaves videos in both parts.
    """
    groups = solution.ids if solution.originals is None else solution.originals
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    positive = np.bincount(codes, solution.labels, len(names))
    random, best, distance = np.random.default_rng(seed), None, math.inf
    for _ in range(PARTS_TRIED):
        order = random.permutation(len(names))
        fractions = np.cumsum(sizes[order]) / len(codes)
        taken = int(np.abs(fractions - public_fraction).argmin()) + 1
        if taken == len(names):
            continue
        inside, outside = order[:taken], order[taken:]
        balances = [positive[part].sum() / sizes[part].sum() for part in (inside, outside)]
        off = abs(balances[0] - balances[1]) + abs(fractions[taken - 1] - public_fraction)
        if off < distance:
            best, distance = inside, off
    if best is None:
        raise UsageError(
            f"{plural(len(names), 'original')}: no division leaves videos in both parts.",
            hint="At least two are needed; --originals says which videos belong together.",
        )
    usage = np.where(np.isin(codes, best), b"Public", b"Private")
    if solution.usage is not None:
        usage = np.where(solution.usage == IGNORED, IGNORED, usage)
    return replace(solution, usage=usage)


def solution_csv(solution: Solution) -> bytes:
    """The solution as a CSV with Usage and, where they are known, originals."""
    columns = {solution.columns[0]: as_text(solution.ids), solution.columns[1]: solution.labels.tolist()}
    for name, values in ((USAGE, solution.usage), ("original", solution.originals)):
        if values is not None:
            columns[name] = as_text(values)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode("utf-8", "surrogateescape")
