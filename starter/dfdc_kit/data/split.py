"""Split videos into training and validation folds that share no original.

Videos are assigned in groups: a part of the full training set where there are parts (the stricter choice: people may
appear again within a part), else an original with all its fakes. The fold of a group depends on its own name, the seed
and the holdout fraction only, so a video never changes its fold when data is added. Only with `nearest` are all groups
ranked together, to meet the fraction within half a group.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from dfdc_kit.challenge import Challenge
from dfdc_kit.data.catalogue import NO_PART, Catalogue
from dfdc_kit.errors import DataError, KitError, UsageError, suggest
from dfdc_kit.formatting import plural

TRAIN, VALIDATION, UNUSED = 0, 1, 2
FOLDS = ("train", "validation", "unused")
BY = ("auto", "part", "original", "video")
SEEDS_TRIED = 32  # for advice
FAR = 0.02  # a fraction that misses by more is worth another seed

FoldArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How to split.

    holdout: fraction of the videos wanted in validation, above 0 and below 1; by: "part", "original", "video" (each on
    its own, for labels that name no originals), or "auto"; balance: as many FAKE as REAL in each fold; nearest: meet
    the fraction within half a group, but videos may change folds when data is added.
    """

    holdout: float = 0.2
    seed: int = 0
    by: str = "auto"
    balance: bool = False
    nearest: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError if a value does not fit."""
        if not 0 < self.holdout < 1:
            raise UsageError(f"--holdout: seen {self.holdout:g}, expected more than 0 and less than 1.")
        if self.by not in BY:
            raise UsageError(f"Unknown group {self.by!r} in --by.", hint=suggest(self.by, BY, label="Groups"))


@dataclass(frozen=True, slots=True)
class Split:
    """The fold of each video: folds (n,) of TRAIN, VALIDATION, UNUSED; groups (n,) names."""

    catalogue: Catalogue
    by: str
    groups: list[str]
    folds: FoldArray
    nearer_seed: int | None  # one whose fraction comes nearer, where that of this seed is far off
    no_part: int  # videos left out because their part is unknown
    public_test: int  # videos kept out of validation because they are in the public test
    copies: int  # videos kept out of training because validation has the same content under another name

    def rows(self, fold: int) -> list[int]:
        """The videos of one fold."""
        return np.flatnonzero(self.folds == fold).tolist()

    def classes(self, fold: int) -> set[bool]:
        """The classes in a fold: True for FAKE."""
        return set(self.catalogue.fake[self.folds == fold].tolist())


def split(
    catalogue: Catalogue,
    plan: SplitPlan,
    challenge: Challenge,
    public_test: Set[str] = frozenset(),
    copies: Sequence[Sequence[str]] = (),
) -> Split:
    """Split `catalogue`.

    public_test: names of videos that must not be in validation; copies: groups of names with the same content. Raises
    UsageError if a fold would be empty, DataError if the labels do not say which videos belong together.
    """
    by = _resolve_by(catalogue, plan)
    _check_chains(catalogue)
    if by == "original":
        _check_originals(catalogue)
    groups = _group_names(catalogue, by)
    known = np.array([bool(group) for group in groups])  # (n,) False: in a sample next to parts
    names, group, sizes = np.unique(np.array(groups, np.str_), return_inverse=True, return_counts=True)
    unknown = int(not known.all())  # 1: the first group is "", which is in no fold
    draw = _Draw(names.tolist()[unknown:], sizes[unknown:], by, plan, challenge)
    of_group = draw.nearest_folds() if plan.nearest else draw.folds(plan.seed)
    folds = np.concatenate((np.full(unknown, UNUSED, np.uint8), of_group))[group]
    draw.check(folds)
    held_public = np.array([name in public_test for name in catalogue.names]) & (folds == VALIDATION)
    folds[held_public] = UNUSED
    copied = _leave_out_copies(folds, catalogue, copies)
    if plan.balance:
        _balance(folds, catalogue, plan.seed)
    return Split(catalogue, by, groups, folds, draw.nearer_seed(), int((~known).sum()), int(held_public.sum()), copied)


def find_working_plan(make: Callable[[SplitPlan], Split], plan: SplitPlan) -> SplitPlan | None:
    """The first plan like `plan` that gives both classes in both folds.

    Tried are other seeds, then larger fractions, and, where the way to split was left open, by original and by video.
    """
    ways = (plan.by, "original", "video") if plan.by == "auto" else (plan.by,)
    return next((found for by in ways if (found := _find_seed(make, replace(plan, by=by)))), None)


def _find_seed(make: Callable[[SplitPlan], Split], plan: SplitPlan) -> SplitPlan | None:
    for holdout in sorted({plan.holdout, *(larger for larger in (0.3, 0.4, 0.5) if larger > plan.holdout)}):
        for seed in range(SEEDS_TRIED):
            tried = replace(plan, holdout=holdout, seed=seed)
            try:
                found = make(tried)
            except DataError:  # of the labels: the seed does not matter
                return None
            except KitError:
                continue
            if all(len(found.classes(fold)) == 2 for fold in (TRAIN, VALIDATION)):
                return tried
    return None


def hash_fraction(text: str, seed: int) -> float:
    """A number from 0 to 1 for a text: the same for the same seed on every machine, uniform over texts."""
    return int.from_bytes(blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()) / 2**64


def fakes_as_originals(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Videos whose original is made from another one, or FAKE (itself, for instance): name and original."""
    source_of = dict(zip(catalogue.names, catalogue.source_videos(), strict=True))
    fakes = {name for name, fake in zip(catalogue.names, catalogue.fake.tolist(), strict=True) if fake}
    named = {name for name, original in zip(catalogue.names, catalogue.originals, strict=True) if original}
    for name, source in source_of.items():
        if name in named and (source_of.get(source, source) != source or source in fakes):
            yield name, source


def _resolve_by(catalogue: Catalogue, plan: SplitPlan) -> str:
    parts = any(label_file.part != NO_PART for label_file in catalogue.label_files)
    if plan.by == "part" and not parts:
        raise UsageError("No part of the full training set found.", hint="Use --by original instead of --by part.")
    return ("part" if parts else "original") if plan.by == "auto" else plan.by


def _group_names(catalogue: Catalogue, by: str) -> list[str]:
    """(n,) the group of each video, "" where its part is unknown. Raises DataError if an original is in two parts."""
    if by != "part":
        return catalogue.source_videos() if by == "original" else list(catalogue.names)
    numbers = [label_file.part for label_file in catalogue.label_files]
    parts = [numbers[at] for at in catalogue.file_index.tolist()]
    part_of: dict[str, int] = {}
    for source, part, name in zip(catalogue.source_videos(), parts, catalogue.names, strict=True):
        if part != NO_PART and part_of.setdefault(source, part) != part:
            raise DataError(
                f"The original {source} of {name} (part {part}) has videos in part {part_of[source]}, too.",
                hint="These parts share originals: use --by original.",
            )
    return ["" if part == NO_PART else str(part) for part in parts]


def _check_originals(catalogue: Catalogue) -> None:
    orphans = [i for i in np.flatnonzero(catalogue.fake).tolist() if not catalogue.originals[i]]
    if orphans:
        raise DataError(
            f"{plural(len(orphans), 'FAKE video')} without an original, first: {catalogue.names[orphans[0]]}"
            f" in {catalogue.folder_name(orphans[0])}. A fake and its original could end up in both folds.",
            hint="Use the challenge's metadata.json, or add a column `original` to the CSV. If the originals are"
            " unknown, use --by video: it splits each video on its own.",
        )


def _check_chains(catalogue: Catalogue) -> None:
    chained = list(fakes_as_originals(catalogue))
    if chained:
        name, original = chained[0]
        raise DataError(
            f"The original of {name} is {original}, which is FAKE or has an original of its own"
            f" ({plural(len(chained), 'such video')}).",
            hint="An original is a REAL video. Correct the labels, or use --by video.",
        )


def _fold(group: str, by: str, plan: SplitPlan, challenge: Challenge) -> int:
    """All parts are known, so the fraction is exact once all are present; other groups are drawn independently."""
    fraction = hash_fraction(group, plan.seed)
    parts = range(challenge.sizes.train_parts)
    if by == "part" and group in map(str, parts):
        before = sum(hash_fraction(str(part), plan.seed) < fraction for part in parts)
        return VALIDATION if before < round(plan.holdout * len(parts)) else TRAIN
    return VALIDATION if fraction < plan.holdout else TRAIN


@dataclass(frozen=True, slots=True)
class _Draw:
    """Assigns groups to folds: names (n,) and sizes (n,) in videos."""

    names: list[str]
    sizes: npt.NDArray[np.int64]
    by: str
    plan: SplitPlan
    challenge: Challenge

    def folds(self, seed: int) -> FoldArray:
        """(n,) the fold of each group, drawn independently."""
        plan = replace(self.plan, seed=seed)
        return np.array([_fold(name, self.by, plan, self.challenge) for name in self.names], np.uint8)

    def nearest_folds(self) -> FoldArray:
        """(n,) the first groups by their draw, as many as meet the fraction best; at least one in each fold."""
        order = np.argsort([hash_fraction(name, self.plan.seed) for name in self.names], kind="stable")
        miss = np.abs(np.cumsum(self.sizes[order]) - self.plan.holdout * self.sizes.sum())[:-1]  # (n - 1,) after each
        folds = np.full(len(order), TRAIN, np.uint8)
        if len(miss):
            folds[order[: np.argmin(miss) + 1]] = VALIDATION
        return folds

    def check(self, folds: FoldArray) -> None:
        """Raise UsageError, with a seed that works, if one of the two folds is empty."""
        for fold in (TRAIN, VALIDATION):
            if not (folds == fold).any():
                raise UsageError(
                    f"The {FOLDS[fold]} fold is empty: {plural(len(self.names), self.by)},"
                    f" holdout {self.plan.holdout:g}, seed {self.plan.seed}.",
                    hint=self._advice(),
                )

    def nearer_seed(self) -> int | None:
        """The first seed that comes nearest to the fraction, if this one is far off and that one is not."""
        if self.plan.nearest or self._miss(self.plan.seed) <= FAR:
            return None
        seed = min(range(SEEDS_TRIED), key=self._miss)
        return seed if self._miss(seed) < self._miss(self.plan.seed) / 2 else None

    def _miss(self, seed: int) -> float:
        held = self.folds(seed) == VALIDATION
        return abs(float(self.sizes[held].sum() / self.sizes.sum()) - self.plan.holdout)

    def _advice(self) -> str:
        by_others = "use --by original, or --by video where originals are unknown"
        more = by_others if self.by == "part" else "add videos"
        if len(self.names) < 2:
            return f"One {self.by} cannot be split: {more}."
        seeds = (seed for seed in range(SEEDS_TRIED) if len(set(self.folds(seed).tolist())) == 2)
        seed = next(seeds, None)
        found = "Use" if seed is None else f"Use --seed {seed}, or"
        return f"{found} --nearest, if no data will be added later; or {more}."


def _leave_out_copies(folds: FoldArray, catalogue: Catalogue, copies: Sequence[Sequence[str]]) -> int:
    """Where training has a copy of a validation video, mark it and all videos of its original UNUSED; how many."""
    row_of = {name: i for i, name in enumerate(catalogue.names)}
    sources = catalogue.source_videos()
    spoiled: set[str] = set()
    for names in copies:
        rows = [row_of[name] for name in names if name in row_of]
        if any(folds[row] == VALIDATION for row in rows):
            spoiled |= {sources[row] for row in rows if folds[row] == TRAIN}
    left_out = [i for i, source in enumerate(sources) if source in spoiled and folds[i] == TRAIN] if spoiled else []
    folds[left_out] = UNUSED
    return len(left_out)


def _balance(folds: FoldArray, catalogue: Catalogue, seed: int) -> None:
    """In each fold, mark videos of the larger class UNUSED, drawn by the seed, until both classes are equal."""
    for fold in (TRAIN, VALIDATION):
        of_class = [np.flatnonzero((folds == fold) & (catalogue.fake == fake)) for fake in (False, True)]
        few, many = sorted(of_class, key=len)
        if not len(few):
            raise UsageError(
                f"The {FOLDS[fold]} fold has one class only: it cannot be balanced.",
                hint="Leave out --balance, or choose another --holdout or --seed.",
            )
        drawn = np.argsort([hash_fraction(catalogue.names[i], seed) for i in many.tolist()], kind="stable")
        folds[many[drawn[len(few) :]]] = UNUSED
