"""Training and validation that share no original; drawn so that no side ever moves, or so that the share is met.

A group is a part of the full training set where there are parts (the stricter cut: people may come again within a
part), else an original with all its fakes. A group's side comes from its own name, the seed and the share alone: what
else is there makes no difference. Only where the nearest share is asked for, all groups are ranked by their draw.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.catalogue import NO_PART, Catalogue
from dfdc_kit.errors import DataError, UsageError

TRAIN, VALIDATION, UNUSED = 0, 1, 2
SIDES = ("train", "validation", "unused")
BY = ("auto", "part", "original")
SEEDS_TRIED = 32  # for advice
FAR = 0.02  # a share that misses by more is worth another seed

Sides = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How to cut.

    share: of the videos, wanted in validation; by: "part", "original", or "auto"; balance: as many FAKE as REAL on each
    side; nearest: meet the share within half a group, and let sides move when data is added.
    """

    share: float = 0.2
    seed: int = 0
    by: str = "auto"
    balance: bool = False
    nearest: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError if a value does not fit."""
        if not 0 < self.share < 1:
            raise UsageError(f"--share: seen {self.share:g}, expected more than 0 and less than 1.")
        if self.by not in BY:
            raise UsageError(f"--by: seen {self.by!r}, expected {', '.join(BY)}.")


@dataclass(frozen=True, slots=True)
class Split:
    """Which side each video is on: sides (n,) of TRAIN, VALIDATION, UNUSED; groups (n,) names."""

    catalogue: Catalogue
    by: str
    groups: list[str]
    sides: Sides
    nearer_seed: int | None  # one whose share comes nearer, where that of this seed is far off
    no_part: int  # videos left out because it is not known which part they belong to
    public_test: int  # videos kept out of validation because the public test shows them

    def rows(self, side: int) -> list[int]:
        """The videos on one side."""
        return np.flatnonzero(self.sides == side).tolist()


def split(catalogue: Catalogue, plan: SplitPlan, challenge: Challenge, public_test: Set[str] = frozenset()) -> Split:
    """Cut `catalogue` in two; `public_test` names videos that must not be validated on.

    Raises UsageError if one side would be empty, DataError if the metadata cannot tell which videos belong together.
    """
    by = _by(catalogue, plan)
    _check_chains(catalogue)
    if by == "original":
        _check_orphans(catalogue)
    groups = _parts(catalogue) if by == "part" else catalogue.roots()
    known = np.array([bool(group) for group in groups])  # (n,) False: of a sample, beside parts
    names, group, sizes = np.unique(np.array(groups, np.str_), return_inverse=True, return_counts=True)
    unknown = int(not known.all())  # 1: the first group is "", which is on no side
    draw = _Draw(names.tolist()[unknown:], sizes[unknown:], by, plan, challenge)
    of_group = draw.nearest_sides() if plan.nearest else draw.sides(plan.seed)
    sides = np.concatenate((np.full(unknown, UNUSED, np.uint8), of_group))[group]
    draw.check(sides)
    shown = np.array([name in public_test for name in catalogue.names]) & (sides == VALIDATION)
    sides[shown] = UNUSED
    if plan.balance:
        _balance(sides, catalogue, plan.seed)
    return Split(catalogue, by, groups, sides, draw.nearer(), int((~known).sum()), int(shown.sum()))


def place_of(text: str, seed: int) -> float:
    """A place from 0 to 1 for a text, always the same for the same seed, and as good as random over texts."""
    return int.from_bytes(blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()) / 2**64


def _side(group: str, by: str, plan: SplitPlan, challenge: Challenge) -> int:
    """Parts are a known set: the share is met exactly once all are there. Originals are not: each has its own draw."""
    place = place_of(group, plan.seed)
    parts = range(challenge.sizes.train_parts)
    if by == "part" and group in map(str, parts):
        before = sum(place_of(str(part), plan.seed) < place for part in parts)
        return VALIDATION if before < round(plan.share * len(parts)) else TRAIN
    return VALIDATION if place < plan.share else TRAIN


def _by(catalogue: Catalogue, plan: SplitPlan) -> str:
    parts = any(label_file.part != NO_PART for label_file in catalogue.label_files)
    if plan.by == "part" and not parts:
        raise UsageError("There is no part of the full training set here.", hint="Add: --by original")
    return ("part" if parts else "original") if plan.by == "auto" else plan.by


def _parts(catalogue: Catalogue) -> list[str]:
    """(n,) the part of each video as text, "" where none is known. Raises DataError if an original is in two parts."""
    numbers = [label_file.part for label_file in catalogue.label_files]
    parts = [numbers[at] for at in catalogue.at.tolist()]
    part_of: dict[str, int] = {}
    for root, part, name in zip(catalogue.roots(), parts, catalogue.names, strict=True):
        if part != NO_PART and part_of.setdefault(root, part) != part:
            raise DataError(
                f"The original {root} of {name} (part {part}) has videos in part {part_of[root]}, too.",
                hint="Parts do not keep originals apart here. Add: --by original",
            )
    return ["" if part == NO_PART else str(part) for part in parts]


def _check_orphans(catalogue: Catalogue) -> None:
    orphans = [i for i in np.flatnonzero(catalogue.fake).tolist() if not catalogue.originals[i]]
    if orphans:
        raise DataError(
            f"{len(orphans):,} FAKE videos name no original, the first is {catalogue.names[orphans[0]]}"
            f" in {catalogue.place(orphans[0])}: nothing can keep them from standing on both sides.",
            hint="Use the challenge's own metadata.json; a CSV with labels does not name originals.",
        )


def _check_chains(catalogue: Catalogue) -> None:
    chained = list(fakes_as_originals(catalogue))
    if chained:
        name, original = chained[0]
        raise DataError(
            f"The original of {name} is {original}, which is FAKE or has an original of its own"
            f" ({len(chained):,} such videos).",
            hint="Get the metadata again: an original is a REAL video.",
        )


def fakes_as_originals(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Videos whose original is made from another one, or FAKE (itself, for instance): name and original."""
    roots = dict(zip(catalogue.names, catalogue.roots(), strict=True))
    fakes = {name for name, fake in zip(catalogue.names, catalogue.fake.tolist(), strict=True) if fake}
    named = {name for name, original in zip(catalogue.names, catalogue.originals, strict=True) if original}
    for name, root in roots.items():
        if name in named and (roots.get(root, root) != root or root in fakes):
            yield name, root


@dataclass(frozen=True, slots=True)
class _Draw:
    """How groups fall: names (n,) and sizes (n,) in videos."""

    names: list[str]
    sizes: npt.NDArray[np.int64]
    by: str
    plan: SplitPlan
    challenge: Challenge

    def sides(self, seed: int) -> Sides:
        """(n,) the side of each group, drawn for itself."""
        plan = replace(self.plan, seed=seed)
        return np.array([_side(name, self.by, plan, self.challenge) for name in self.names], np.uint8)

    def nearest_sides(self) -> Sides:
        """(n,) the first groups by their draw, as many as meet the share most nearly; at least one on each side."""
        order = np.argsort([place_of(name, self.plan.seed) for name in self.names], kind="stable")
        miss = np.abs(np.cumsum(self.sizes[order]) - self.plan.share * self.sizes.sum())[:-1]  # (n - 1,) after each
        sides = np.full(len(order), TRAIN, np.uint8)
        if len(miss):
            sides[order[: np.argmin(miss) + 1]] = VALIDATION
        return sides

    def check(self, sides: Sides) -> None:
        """Raise UsageError, with a seed that does it, if one of the two sides got nothing."""
        for side in (TRAIN, VALIDATION):
            if not (sides == side).any():
                n = len(self.names)
                raise UsageError(
                    f"No video falls into {SIDES[side]}: {n} {self.by}{'s' * (n != 1)}, share {self.plan.share:g},"
                    f" seed {self.plan.seed}.",
                    hint=self._advice(),
                )

    def nearer(self) -> int | None:
        """The seed of the first few that comes nearest to the share, if this one is far off and that one is not."""
        if self.plan.nearest or self._miss(self.plan.seed) <= FAR:
            return None
        seed = min(range(SEEDS_TRIED), key=self._miss)
        return seed if self._miss(seed) < self._miss(self.plan.seed) / 2 else None

    def _miss(self, seed: int) -> float:
        held = self.sides(seed) == VALIDATION
        return abs(float(self.sizes[held].sum() / self.sizes.sum()) - self.plan.share)

    def _advice(self) -> str:
        more = "add --by original" if self.by == "part" else "add videos"
        if len(self.names) < 2:
            return f"One group has one side: {more}."
        seeds = (seed for seed in range(SEEDS_TRIED) if len(set(self.sides(seed).tolist())) == 2)
        seed = next(seeds, None)
        found = "Add" if seed is None else f"--seed {seed} fills both. Or add"
        return f"{found} --nearest, if no more data is to come; or {more}."


def _balance(sides: Sides, catalogue: Catalogue, seed: int) -> None:
    """Set videos of the larger class aside on each side, as drawn by the seed, until both classes are as many."""
    for side in (TRAIN, VALIDATION):
        of_class = [np.flatnonzero((sides == side) & (catalogue.fake == fake)) for fake in (False, True)]
        few, many = sorted(of_class, key=len)
        if not len(few):
            raise UsageError(
                f"{SIDES[side]} holds one class only: there is nothing to balance.",
                hint="Leave out --balance, or choose another --share or --seed.",
            )
        drawn = np.argsort([place_of(catalogue.names[i], seed) for i in many.tolist()], kind="stable")
        sides[many[drawn[len(few) :]]] = UNUSED
