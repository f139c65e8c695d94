"""Splits: laws that hold for any data, seed and holdout; the files that are written; the labels command."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfdc_kit import challenge as challenges
from dfdc_kit.data.catalogue import (
    NO_PART,
    LabelFile,
    join_label_files,
)
from dfdc_kit.data.split import FOLDS, TRAIN, UNUSED, VALIDATION, Split, SplitPlan, hash_fraction, split
from dfdc_kit.data.split_files import make_split, read_folds
from dfdc_kit.errors import DataError, DataMissingError, OutputError, UsageError

CHALLENGE = challenges.load()

# ----------------------------------------------------------------------------------------------------------------- laws


def label_file(part: int, groups: dict[str, tuple[bool, int]]) -> LabelFile:
    """Originals by name: whether the original is present itself, and how many fakes it has."""
    rows = [(f"{name}.mp4", False, "") for name, (present, _) in groups.items() if present]
    rows += [(f"{name}-{i}.mp4", True, f"{name}.mp4") for name, (_, fakes) in groups.items() for i in range(fakes)]
    place = "train_sample_videos" if part == NO_PART else CHALLENGE.data.train_parts.format(part)
    names, fake, originals = zip(*rows, strict=True) if rows else ((), (), ())
    return LabelFile(Path(place), place, Path(place), part, list(names), np.array(fake, np.bool_), list(originals))


group = st.tuples(st.booleans(), st.integers(0, 4))
originals = st.text("abcdefgh", min_size=3, max_size=3)


@st.composite
def catalogues(draw, parts: bool = False) -> list[LabelFile]:
    """Label files without common originals: one for each part, or one without parts."""
    groups = draw(st.dictionaries(originals, group, min_size=2, max_size=40))
    numbers = draw(st.lists(st.integers(0, 49), min_size=2, max_size=8, unique=True)) if parts else [NO_PART]
    chunks = [dict(list(groups.items())[i :: len(numbers)]) for i in range(len(numbers))]
    return [found for n, chunk in zip(numbers, chunks, strict=True) if (found := label_file(n, chunk)).names]


laws = settings(deadline=None, max_examples=40)
plans = st.builds(
    SplitPlan, holdout=st.floats(0.05, 0.95), seed=st.integers(0, 10**9), by=st.just("auto"), balance=st.booleans()
)


def try_split(label_files: list[LabelFile], plan: SplitPlan, **options: object) -> Split | None:
    """None where the videos cannot be split: too few groups, or one class in a fold."""
    try:
        return split(join_label_files(label_files, CHALLENGE), plan, CHALLENGE, **options)
    except (UsageError, DataMissingError):
        return None


def fold_of(found: Split) -> dict[str, str]:
    return {name: FOLDS[fold] for name, fold in zip(found.catalogue.names, found.folds.tolist(), strict=True)}


@laws
@given(st.one_of(catalogues(), catalogues(parts=True)), plans)
def test_split_keeps_an_original_and_its_fakes_in_one_fold(label_files, plan):
    found = try_split(label_files, plan)
    if found is None:
        return
    seen: dict[str, int] = {}
    for root, fold in zip(found.catalogue.source_videos(), found.folds.tolist(), strict=True):
        assert fold == UNUSED or seen.setdefault(root, fold) == fold
    if found.by == "part":
        for i, fold in enumerate(found.folds.tolist()):
            assert fold == UNUSED or seen.setdefault(found.catalogue.folder_name(i), fold) == fold


@laws
@given(st.one_of(catalogues(), catalogues(parts=True)), catalogues(parts=True), plans)
def test_split_moves_no_video_when_data_is_added(label_files, more, plan):
    parts = {one.part for one in label_files}
    by = "part" if parts != {NO_PART} else "original"
    plan = SplitPlan(plan.holdout, plan.seed, by, plan.balance)
    known = {name for one in label_files for name in one.names} | {
        root for one in label_files for root in one.originals
    }
    new = [one for one in more if one.part not in parts and not known & {*one.names, *one.originals}]
    before, after = try_split(label_files, plan), try_split(label_files + new, plan)
    if before is None or after is None:
        return
    now = fold_of(after)
    for name, fold in fold_of(before).items():
        assert now[name] == fold or (plan.balance and "unused" in (fold, now[name]))


@laws
@given(st.one_of(catalogues(), catalogues(parts=True)), plans, st.randoms(use_true_random=False))
def test_split_ignores_the_order_of_files_and_rows(label_files, plan, random):
    found = try_split(label_files, plan)
    shuffled = []
    for one in label_files:
        order = list(range(len(one.names)))
        random.shuffle(order)
        rows = [one.names[i] for i in order], one.fake[order], [one.originals[i] for i in order]
        shuffled.append(LabelFile(one.file, one.folder_name, one.folder, one.part, *rows))
    random.shuffle(shuffled)
    again = try_split(shuffled, plan)
    assert (found is None) == (again is None)
    if found and again:
        assert fold_of(found) == fold_of(again)


@laws
@given(catalogues(), st.integers(0, 10**6), st.floats(0.2, 0.8))
def test_balance_equalises_both_classes_and_moves_no_video_to_the_other_fold(label_files, seed, holdout):
    plain, balanced = (
        try_split(label_files, SplitPlan(holdout, seed)),
        try_split(label_files, SplitPlan(holdout, seed, balance=True)),
    )
    if balanced is None:
        return
    for fold in (TRAIN, VALIDATION):
        in_fold = balanced.folds == fold
        fake = int((in_fold & plain.catalogue.fake).sum())
        assert in_fold.sum() == 2 * fake > 0
        of_class = [int(((plain.folds == fold) & (plain.catalogue.fake == label)).sum()) for label in (False, True)]
        assert fake == min(of_class)
        assert not (in_fold & (plain.folds != fold)).any()


@laws
@given(catalogues(), plans, st.sets(originals))
def test_split_never_puts_the_public_test_in_validation(label_files, plan, shown):
    names = frozenset(f"{name}.mp4" for name in shown)
    plan = SplitPlan(plan.holdout, plan.seed)
    plain, found = try_split(label_files, plan), try_split(label_files, plan, public_test=names)
    if found is None:
        return
    held = {name for name, fold in fold_of(found).items() if fold == "validation"}
    assert not held & names
    before = {name for name, fold in fold_of(plain).items() if fold == "validation"}
    assert held == before - names
    assert found.public_test == len(before & names)


# --------------------------------------------------------------------------------------------------------- holdout


def many(groups: int) -> list[LabelFile]:
    return [label_file(NO_PART, {f"{i:05d}": (True, i % 9) for i in range(groups)})]


@pytest.mark.parametrize("holdout", [0.05, 0.2, 0.5, 0.8])
def test_holdout_by_original_is_unbiased_and_as_exact_as_independent_draws(holdout):
    """2,000 originals, 20 seeds: unbiased, and no further off than four standard deviations of such a draw."""
    catalogue = join_label_files(many(2000), CHALLENGE)
    sizes = np.unique(catalogue.source_videos(), return_counts=True)[1]
    deviation = np.sqrt(holdout * (1 - holdout) * (sizes**2).sum()) / sizes.sum()
    reached = [(split(catalogue, SplitPlan(holdout, seed), CHALLENGE).folds == VALIDATION).mean() for seed in range(20)]
    assert np.abs(np.array(reached) - holdout).max() < 4 * deviation
    assert abs(np.mean(reached) - holdout) < 4 * deviation / np.sqrt(20)


@pytest.mark.parametrize("holdout", [0.02, 0.1, 0.2, 0.33])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_holdout_by_part_is_exact_once_all_parts_are_present(holdout, seed):
    parts = [label_file(part, {f"p{part}": (True, 1)}) for part in range(50)]
    found = split(join_label_files(parts, CHALLENGE), SplitPlan(holdout, seed), CHALLENGE)
    assert found.by == "part"
    assert (found.folds == VALIDATION).sum() == 2 * round(holdout * 50)


@laws
@given(st.one_of(catalogues(), catalogues(parts=True)), st.floats(0.01, 0.99), st.integers(0, 10**6))
def test_nearest_misses_the_holdout_by_half_a_group_at_most(label_files, holdout, seed):
    """Or, where that would leave a fold empty, by the one group that must be there."""
    found = try_split(label_files, SplitPlan(holdout, seed, nearest=True))
    if found is None:
        return
    sizes = np.unique(found.groups, return_counts=True)[1]
    held, train = [len({found.groups[i] for i in found.rows(fold)}) for fold in (VALIDATION, TRAIN)]
    miss = abs(len(found.rows(VALIDATION)) - holdout * sizes.sum())
    assert held >= 1 <= train
    assert miss <= sizes.max() / 2 + 1e-9 or held == 1 or train == 1
    assert (found.nearer_seed, (found.folds == UNUSED).any()) == (None, False)


def test_nearest_fills_both_folds_where_independent_draws_would_not():
    parts = join_label_files([label_file(part, {f"p{part}": (True, 1)}) for part in range(3)], CHALLENGE)
    for seed in range(50):
        for holdout, held in ((0.01, 2), (0.2, 2), (0.5, 2), (0.99, 4)):  # videos, of 6
            found = split(parts, SplitPlan(holdout, seed, nearest=True), CHALLENGE)
            assert ((found.folds == VALIDATION).sum(), (found.folds == TRAIN).sum()) == (held, 6 - held)


def test_split_names_a_seed_that_comes_nearer():
    catalogue = join_label_files([label_file(NO_PART, {f"{i}": (True, 3) for i in range(12)})], CHALLENGE)
    far = [seed for seed in range(20) if split(catalogue, SplitPlan(0.25, seed), CHALLENGE).nearer_seed is not None]
    assert far
    for seed in far:
        found = split(catalogue, SplitPlan(0.25, seed), CHALLENGE)
        better = split(catalogue, SplitPlan(0.25, found.nearer_seed), CHALLENGE)
        miss = [abs((one.folds == VALIDATION).mean() - 0.25) for one in (better, found)]
        assert miss[0] < miss[1] / 2 + 1e-9


def test_hash_fraction_never_changes():
    """Another hash would move every video of every existing split."""
    assert hash_fraction("vudstovrck.mp4", 0) == pytest.approx(0.7776683003348943, abs=1e-12)
    assert hash_fraction("17", 3) == pytest.approx(0.9004869493029015, abs=1e-12)


def test_split_differs_for_every_seed():
    catalogue = join_label_files(many(50), CHALLENGE)
    assert len({tuple(split(catalogue, SplitPlan(0.5, seed), CHALLENGE).folds.tolist()) for seed in range(20)}) == 20


# ------------------------------------------------------------------------------------------------- what cannot be split


def test_split_of_one_part_by_part_fails_and_suggests_by_original():
    part = [label_file(3, {"a": (True, 2), "b": (True, 2), "c": (True, 2)})]
    with pytest.raises(
        UsageError, match=r"The (train|validation) fold is empty: 1 part, holdout 0.5, seed 0"
    ) as caught:
        split(join_label_files(part, CHALLENGE), SplitPlan(0.5), CHALLENGE)
    assert "--by original" in caught.value.hint


def test_split_with_an_empty_fold_names_a_seed_that_fills_both():
    parts = join_label_files([label_file(part, {f"p{part}": (True, 1)}) for part in range(3)], CHALLENGE)
    for seed in range(200):
        try:
            split(parts, SplitPlan(0.2, seed), CHALLENGE)
        except UsageError as fault:
            other = int(fault.hint.split("--seed ")[1].split()[0].strip(","))
            split(parts, SplitPlan(0.2, other), CHALLENGE)
            return
    pytest.fail("no seed of 200 left a fold of three parts empty")


def test_split_leaves_out_the_sample_next_to_parts_unless_by_original():
    parts = [label_file(part, {f"p{part}": (True, 1)}) for part in range(50)]
    sample = label_file(NO_PART, {"s": (True, 1), "p1": (True, 1)})
    found = split(join_label_files([sample, *parts], CHALLENGE), SplitPlan(0.5), CHALLENGE)
    assert {name for name, fold in fold_of(found).items() if fold == "unused"} == {"s.mp4", "s-0.mp4"}
    assert found.no_part == 2
    by_original = split(join_label_files([sample, *parts], CHALLENGE), SplitPlan(0.5, by="original"), CHALLENGE)
    assert (by_original.no_part, (by_original.folds == UNUSED).sum()) == (0, 0)


def test_split_refuses_labels_without_clear_originals():
    orphan = LabelFile(Path("x"), "x", Path("x"), NO_PART, ["f.mp4", "r.mp4"], np.array([True, False]), ["", ""])
    with pytest.raises(DataError, match=r"1 FAKE video without an original, first: f.mp4 in x"):
        split(join_label_files([orphan], CHALLENGE), SplitPlan(), CHALLENGE)
    chain = LabelFile(
        Path("x"), "x", Path("x"), NO_PART, ["f.mp4", "g.mp4"], np.array([True, True]), ["g.mp4", "r.mp4"]
    )
    with pytest.raises(DataError, match=r"The original of f.mp4 is g.mp4, which is FAKE or has an original of its"):
        split(join_label_files([chain], CHALLENGE), SplitPlan(), CHALLENGE)
    itself = LabelFile(Path("x"), "x", Path("x"), NO_PART, ["f.mp4", "r.mp4"], np.array([True, False]), ["f.mp4", ""])
    with pytest.raises(DataError, match=r"The original of f.mp4 is f.mp4, which is FAKE"):
        split(join_label_files([itself], CHALLENGE), SplitPlan(), CHALLENGE)
    apart = [label_file(1, {"a": (True, 1)}), label_file(2, {"b": (True, 1)})]
    apart[1].originals[1] = "a.mp4"
    with pytest.raises(DataError, match=r"The original a.mp4 of b-0.mp4 \(part 2\) has videos in part 1, too"):
        split(join_label_files(apart, CHALLENGE), SplitPlan(0.5), CHALLENGE)


@pytest.mark.parametrize("options", [{"holdout": 0}, {"holdout": 1}, {"holdout": float("nan")}, {"by": "person"}])
def test_split_plan_refuses_values_out_of_range(options):
    with pytest.raises(UsageError, match=r"seen|Unknown group"):
        SplitPlan(**options)


# ---------------------------------------------------------------------------------------------------------------- files


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_split_writes_csv_folders_and_links(sample, tmp_path):
    report = make_split([sample], tmp_path / "split", SplitPlan(0.5), CHALLENGE)
    rows = table(tmp_path / "split" / "split.csv")
    metadata = json.loads((sample / "train_sample_videos" / "metadata.json").read_text())
    assert [row["filename"] for row in rows] == sorted(metadata)
    for row in rows:
        entry = metadata[row["filename"]]
        assert (row["label"], row["original"] or None) == (entry["label"], entry["original"])
        assert row["folder"] == "train_sample_videos"
    assert read_folds(tmp_path / "split") == {row["filename"]: row["fold"] for row in rows}
    held = [row["filename"] for row in rows if row["fold"] == "validation"]
    trained = [row["filename"] for row in rows if row["fold"] == "train"]
    assert (report.folds["validation"].videos, report.folds["train"].videos) == (len(held), len(trained))
    assert report.holdout_reached == len(held) / 16

    validation, train = tmp_path / "split" / "validation", tmp_path / "split" / "train"
    solution = table(validation / "solution" / "solution.csv")
    assert {row["filename"]: row["label"] for row in solution} == {
        name: str(int(metadata[name]["label"] == "FAKE")) for name in held
    }
    assert table(validation / "sample_submission.csv") == [{"filename": name, "label": "0"} for name in held]
    assert json.loads((train / "metadata.json").read_text()) == {name: metadata[name] for name in trained}
    for folder, names in ((validation / "test_videos", held), (train, trained)):
        linked = sorted(path for path in folder.iterdir() if path.suffix == ".mp4")
        assert [path.name for path in linked] == names
        for path in linked:
            assert path.resolve() == sample / "train_sample_videos" / path.name


def test_run_accepts_the_validation_folder(dfdc, sample, root, tmp_path):
    assert dfdc("data", "split", sample, "--holdout", "0.5").returncode == 0
    done = dfdc("run", root / "baselines" / "constant", "--data", tmp_path / "split" / "validation", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["score"]["displayed"] == "0.69314"
    submission = tmp_path / "split" / "validation" / "sample_submission.csv"
    scored = dfdc("score", submission, tmp_path / "split" / "validation" / "solution" / "solution.csv")
    assert scored.returncode == 0


def test_split_replaces_an_earlier_split_and_nothing_else(sample, tmp_path):
    out = tmp_path / "split"
    make_split([sample], out, SplitPlan(0.5), CHALLENGE)
    make_split([sample], out, SplitPlan(0.5, seed=1), CHALLENGE)
    assert [path.name for path in tmp_path.iterdir()] == ["split"]
    (out / "train" / "thesis.txt").write_text("years of work")
    for folder in (out, sample.parent / "docs", out / "split.csv"):
        with pytest.raises(UsageError, match=r"exists and is not only an earlier split: .* would be deleted"):
            make_split([sample], folder, SplitPlan(0.5), CHALLENGE)
    assert (out / "train" / "thesis.txt").exists()
    with pytest.raises(OutputError, match="Cannot write"):
        make_split([sample], out / "split.csv" / "below", SplitPlan(0.5), CHALLENGE)


def test_split_that_fails_half_way_leaves_the_earlier_one(sample, tmp_path, monkeypatch):
    out = tmp_path / "split"
    make_split([sample], out, SplitPlan(0.5), CHALLENGE)
    before = (out / "split.csv").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(OutputError, match="No space left on device"):
        make_split([sample], out, SplitPlan(0.5, seed=1), CHALLENGE)
    assert (out / "split.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["split"]


def test_split_refuses_the_public_test(dfdc, sample, tmp_path):
    folder = tmp_path / "test_videos"
    folder.mkdir()
    (folder / "metadata.json").write_text(
        '{"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE", "original": "a.mp4"}}'
    )
    for path in (folder, folder / "metadata.json"):
        done = dfdc("data", "split", path)
        assert done.returncode == 2
        assert "do not validate on the public" in " ".join(done.stderr.split())
    assert not (tmp_path / "split").exists()


def test_split_keeps_rows_of_the_sample_submission_out_of_validation(tmp_path):
    rows = {f"r{i}.mp4": {"label": "REAL"} for i in range(40)}
    (tmp_path / "train_sample_videos").mkdir()
    (tmp_path / "train_sample_videos" / "metadata.json").write_text(json.dumps(rows))
    (tmp_path / "sample_submission.csv").write_text("filename,label\n" + "".join(f"r{i}.mp4,0\n" for i in range(20)))
    report = make_split([tmp_path], tmp_path / "split", SplitPlan(0.5), CHALLENGE)
    assert report.public_test > 0
    held = table(tmp_path / "split" / "validation" / "sample_submission.csv")
    assert not {row["filename"] for row in held} & {f"r{i}.mp4" for i in range(20)}
