"""Splits: laws that hold for any data, any seed and any share; the files that come out; the labels command."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfdc_kit import challenge as challenges
from dfdc_kit.data.catalogue import NO_PART, Catalogue, LabelFile, find_metadata, join, part_of
from dfdc_kit.data.split import SIDES, TRAIN, UNUSED, VALIDATION, Split, SplitPlan, place_of, split
from dfdc_kit.data.split_files import make_split, read_sides
from dfdc_kit.errors import DataError, DataMissingError, OutputError, UsageError

CHALLENGE = challenges.load()

# ----------------------------------------------------------------------------------------------------------------- laws


def label_file(part: int, groups: dict[str, tuple[bool, int]]) -> LabelFile:
    """Originals by name: whether the original is there itself, and how many fakes."""
    rows = [(f"{name}.mp4", False, "") for name, (there, _) in groups.items() if there]
    rows += [(f"{name}-{i}.mp4", True, f"{name}.mp4") for name, (_, fakes) in groups.items() for i in range(fakes)]
    place = "train_sample_videos" if part == NO_PART else CHALLENGE.data.train_parts.format(part)
    names, fake, originals = zip(*rows, strict=True) if rows else ((), (), ())
    return LabelFile(Path(place), place, Path(place), part, list(names), np.array(fake, np.bool_), list(originals))


group = st.tuples(st.booleans(), st.integers(0, 4))
originals = st.text("abcdefgh", min_size=3, max_size=3)


@st.composite
def catalogues(draw, parts: bool = False) -> list[LabelFile]:
    """Listings whose originals do not meet, one for each part, or one without parts."""
    groups = draw(st.dictionaries(originals, group, min_size=2, max_size=40))
    numbers = draw(st.lists(st.integers(0, 49), min_size=2, max_size=8, unique=True)) if parts else [NO_PART]
    shares = [dict(list(groups.items())[i :: len(numbers)]) for i in range(len(numbers))]
    return [found for n, share in zip(numbers, shares, strict=True) if (found := label_file(n, share)).names]


plans = st.builds(
    SplitPlan, share=st.floats(0.05, 0.95), seed=st.integers(0, 10**9), by=st.just("auto"), balance=st.booleans()
)


def cut(label_files: list[LabelFile], plan: SplitPlan, **options: object) -> Split | None:
    """None where there is nothing to cut: too few groups, or one class on a side."""
    try:
        return split(join(label_files, CHALLENGE), plan, CHALLENGE, **options)
    except (UsageError, DataMissingError):
        return None


def sides(found: Split) -> dict[str, str]:
    return {name: SIDES[side] for name, side in zip(found.catalogue.names, found.sides.tolist(), strict=True)}


@settings(max_examples=150, deadline=None)
@given(st.one_of(catalogues(), catalogues(parts=True)), plans)
def test_no_original_and_none_of_its_fakes_on_both_sides(label_files, plan):
    found = cut(label_files, plan)
    if found is None:
        return
    seen: dict[str, int] = {}
    for root, side in zip(found.catalogue.roots(), found.sides.tolist(), strict=True):
        assert side == UNUSED or seen.setdefault(root, side) == side
    if found.by == "part":
        for i, side in enumerate(found.sides.tolist()):
            assert side == UNUSED or seen.setdefault(found.catalogue.place(i), side) == side


@settings(max_examples=150, deadline=None)
@given(st.one_of(catalogues(), catalogues(parts=True)), catalogues(parts=True), plans)
def test_no_video_changes_its_side_when_more_comes(label_files, more, plan):
    parts = {one.part for one in label_files}
    by = "part" if parts != {NO_PART} else "original"
    plan = SplitPlan(plan.share, plan.seed, by, plan.balance)
    known = {name for one in label_files for name in one.names} | {
        root for one in label_files for root in one.originals
    }
    new = [one for one in more if one.part not in parts and not known & {*one.names, *one.originals}]
    before, after = cut(label_files, plan), cut(label_files + new, plan)
    if before is None or after is None:
        return
    now = sides(after)
    for name, side in sides(before).items():
        assert now[name] == side or (plan.balance and "unused" in (side, now[name]))


@settings(max_examples=75, deadline=None)
@given(st.one_of(catalogues(), catalogues(parts=True)), plans, st.randoms(use_true_random=False))
def test_the_order_of_files_and_rows_never_matters(label_files, plan, random):
    found = cut(label_files, plan)
    shuffled = []
    for one in label_files:
        order = list(range(len(one.names)))
        random.shuffle(order)
        rows = [one.names[i] for i in order], one.fake[order], [one.originals[i] for i in order]
        shuffled.append(LabelFile(one.file, one.place, one.folder, one.part, *rows))
    random.shuffle(shuffled)
    again = cut(shuffled, plan)
    assert (found is None) == (again is None)
    if found and again:
        assert sides(found) == sides(again)


@settings(max_examples=75, deadline=None)
@given(catalogues(), st.integers(0, 10**6), st.floats(0.2, 0.8))
def test_balance_makes_both_sides_half_and_half_and_moves_nobody_across(label_files, seed, share):
    plain, balanced = cut(label_files, SplitPlan(share, seed)), cut(label_files, SplitPlan(share, seed, balance=True))
    if balanced is None:
        return
    for side in (TRAIN, VALIDATION):
        on_side = balanced.sides == side
        fake = int((on_side & plain.catalogue.fake).sum())
        assert on_side.sum() == 2 * fake > 0
        of_class = [int(((plain.sides == side) & (plain.catalogue.fake == label)).sum()) for label in (False, True)]
        assert fake == min(of_class)
        assert not (on_side & (plain.sides != side)).any()


@settings(max_examples=75, deadline=None)
@given(catalogues(), plans, st.sets(originals))
def test_the_public_test_is_never_validated_on(label_files, plan, shown):
    names = frozenset(f"{name}.mp4" for name in shown)
    plan = SplitPlan(plan.share, plan.seed)
    plain, found = cut(label_files, plan), cut(label_files, plan, public_test=names)
    if found is None:
        return
    held = {name for name, side in sides(found).items() if side == "validation"}
    assert not held & names
    before = {name for name, side in sides(plain).items() if side == "validation"}
    assert held == before - names
    assert found.public_test == len(before & names)


# ---------------------------------------------------------------------------------------------------------------- share


def many(groups: int) -> list[LabelFile]:
    return [label_file(NO_PART, {f"{i:05d}": (True, i % 9) for i in range(groups)})]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8])
def test_share_by_original_is_as_near_as_a_draw_for_each_original_can_be(share):
    """2,000 originals, 20 seeds: unbiased, and no further off than four standard deviations of such a draw."""
    catalogue = join(many(2000), CHALLENGE)
    sizes = np.unique(catalogue.roots(), return_counts=True)[1]
    deviation = np.sqrt(share * (1 - share) * (sizes**2).sum()) / sizes.sum()
    reached = [(split(catalogue, SplitPlan(share, seed), CHALLENGE).sides == VALIDATION).mean() for seed in range(20)]
    assert np.abs(np.array(reached) - share).max() < 4 * deviation
    assert abs(np.mean(reached) - share) < 4 * deviation / np.sqrt(20)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.33])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_share_by_part_is_met_exactly_once_all_parts_are_there(share, seed):
    parts = [label_file(part, {f"p{part}": (True, 1)}) for part in range(50)]
    found = split(join(parts, CHALLENGE), SplitPlan(share, seed), CHALLENGE)
    assert found.by == "part"
    assert (found.sides == VALIDATION).sum() == 2 * round(share * 50)


@settings(max_examples=100, deadline=None)
@given(st.one_of(catalogues(), catalogues(parts=True)), st.floats(0.01, 0.99), st.integers(0, 10**6))
def test_nearest_misses_the_share_by_half_a_group_at_most(label_files, share, seed):
    """Or, where that would leave a side empty, by the one group that must be there."""
    found = cut(label_files, SplitPlan(share, seed, nearest=True))
    if found is None:
        return
    sizes = np.unique(found.groups, return_counts=True)[1]
    held, train = [len({found.groups[i] for i in found.rows(side)}) for side in (VALIDATION, TRAIN)]
    miss = abs(len(found.rows(VALIDATION)) - share * sizes.sum())
    assert held >= 1 <= train
    assert miss <= sizes.max() / 2 + 1e-9 or held == 1 or train == 1
    assert (found.nearer_seed, (found.sides == UNUSED).any()) == (None, False)


def test_nearest_fills_both_sides_where_a_draw_would_not():
    parts = join([label_file(part, {f"p{part}": (True, 1)}) for part in range(3)], CHALLENGE)
    for seed in range(50):
        for share, held in ((0.01, 2), (0.2, 2), (0.5, 2), (0.99, 4)):  # videos, of 6
            found = split(parts, SplitPlan(share, seed, nearest=True), CHALLENGE)
            assert ((found.sides == VALIDATION).sum(), (found.sides == TRAIN).sum()) == (held, 6 - held)


def test_a_seed_that_comes_nearer_is_named():
    catalogue = join([label_file(NO_PART, {f"{i}": (True, 3) for i in range(12)})], CHALLENGE)
    far = [seed for seed in range(20) if split(catalogue, SplitPlan(0.25, seed), CHALLENGE).nearer_seed is not None]
    assert far
    for seed in far:
        found = split(catalogue, SplitPlan(0.25, seed), CHALLENGE)
        better = split(catalogue, SplitPlan(0.25, found.nearer_seed), CHALLENGE)
        miss = [abs((one.sides == VALIDATION).mean() - 0.25) for one in (better, found)]
        assert miss[0] < miss[1] / 2 + 1e-9


def test_places_are_for_ever():
    """Another hash would move every video of every split that was ever cut."""
    assert place_of("vudstovrck.mp4", 0) == pytest.approx(0.7776683003348943, abs=1e-12)
    assert place_of("17", 3) == pytest.approx(0.9004869493029015, abs=1e-12)


def test_seeds_differ():
    catalogue = join(many(50), CHALLENGE)
    assert len({tuple(split(catalogue, SplitPlan(0.5, seed), CHALLENGE).sides.tolist()) for seed in range(20)}) == 20


# ------------------------------------------------------------------------------------------------- what cannot be split


def test_one_part_cannot_be_cut_by_part_and_the_message_says_what_can():
    part = [label_file(3, {"a": (True, 2), "b": (True, 2), "c": (True, 2)})]
    with pytest.raises(
        UsageError, match=r"No video falls into (train|validation): 1 part, share 0.5, seed 0"
    ) as caught:
        split(join(part, CHALLENGE), SplitPlan(0.5), CHALLENGE)
    assert "--by original" in caught.value.hint


def test_a_seed_that_leaves_a_side_empty_names_one_that_does_not():
    parts = join([label_file(part, {f"p{part}": (True, 1)}) for part in range(3)], CHALLENGE)
    for seed in range(200):
        try:
            split(parts, SplitPlan(0.2, seed), CHALLENGE)
        except UsageError as fault:
            other = int(fault.hint.split("--seed ")[1].split()[0])
            split(parts, SplitPlan(0.2, other), CHALLENGE)
            return
    pytest.fail("no seed of 200 left a side of three parts empty")


def test_the_sample_beside_parts_is_left_out_unless_it_is_cut_by_original():
    parts = [label_file(part, {f"p{part}": (True, 1)}) for part in range(50)]
    sample = label_file(NO_PART, {"s": (True, 1), "p1": (True, 1)})
    found = split(join([sample, *parts], CHALLENGE), SplitPlan(0.5), CHALLENGE)
    assert {name for name, side in sides(found).items() if side == "unused"} == {"s.mp4", "s-0.mp4"}
    assert found.no_part == 2
    by_original = split(join([sample, *parts], CHALLENGE), SplitPlan(0.5, by="original"), CHALLENGE)
    assert (by_original.no_part, (by_original.sides == UNUSED).sum()) == (0, 0)


def test_metadata_that_cannot_tell_what_belongs_together():
    orphan = LabelFile(Path("x"), "x", Path("x"), NO_PART, ["f.mp4", "r.mp4"], np.array([True, False]), ["", ""])
    with pytest.raises(DataError, match=r"1 FAKE videos name no original, the first is f.mp4 in x"):
        split(join([orphan], CHALLENGE), SplitPlan(), CHALLENGE)
    chain = LabelFile(
        Path("x"), "x", Path("x"), NO_PART, ["f.mp4", "g.mp4"], np.array([True, True]), ["g.mp4", "r.mp4"]
    )
    with pytest.raises(DataError, match=r"The original of f.mp4 is g.mp4, which is FAKE or has an original of its"):
        split(join([chain], CHALLENGE), SplitPlan(), CHALLENGE)
    itself = LabelFile(Path("x"), "x", Path("x"), NO_PART, ["f.mp4", "r.mp4"], np.array([True, False]), ["f.mp4", ""])
    with pytest.raises(DataError, match=r"The original of f.mp4 is f.mp4, which is FAKE"):
        split(join([itself], CHALLENGE), SplitPlan(), CHALLENGE)
    apart = [label_file(1, {"a": (True, 1)}), label_file(2, {"b": (True, 1)})]
    apart[1].originals[1] = "a.mp4"
    with pytest.raises(DataError, match=r"The original a.mp4 of b-0.mp4 \(part 2\) has videos in part 1, too"):
        split(join(apart, CHALLENGE), SplitPlan(0.5), CHALLENGE)


@pytest.mark.parametrize("options", [{"share": 0}, {"share": 1}, {"share": float("nan")}, {"by": "person"}])
def test_a_plan_that_does_not_fit(options):
    with pytest.raises(UsageError, match="expected"):
        SplitPlan(**options)


# ---------------------------------------------------------------------------------------------------------------- files


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_files(sample, tmp_path):
    report = make_split([sample], tmp_path / "split", SplitPlan(0.5), CHALLENGE)
    rows = table(tmp_path / "split" / "split.csv")
    metadata = json.loads((sample / "train_sample_videos" / "metadata.json").read_text())
    assert [row["filename"] for row in rows] == sorted(metadata)
    for row in rows:
        told = metadata[row["filename"]]
        assert (row["label"], row["original"] or None) == (told["label"], told["original"])
        assert row["folder"] == "train_sample_videos"
    assert read_sides(tmp_path / "split") == {row["filename"]: row["side"] for row in rows}
    held = [row["filename"] for row in rows if row["side"] == "validation"]
    trained = [row["filename"] for row in rows if row["side"] == "train"]
    assert (report.sides["validation"].videos, report.sides["train"].videos) == (len(held), len(trained))
    assert report.share_reached == len(held) / 16

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


def test_a_run_takes_the_validation_side(dfdc, sample, root, tmp_path):
    assert dfdc("data", "split", sample, "--share", "0.5").returncode == 0
    done = dfdc("run", root / "baselines" / "constant", "--data", tmp_path / "split" / "validation", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["score"]["displayed"] == "0.69314"
    submission = tmp_path / "split" / "validation" / "sample_submission.csv"
    scored = dfdc("score", submission, tmp_path / "split" / "validation" / "solution" / "solution.csv")
    assert scored.returncode == 0


def test_a_second_split_takes_the_place_of_the_first_and_of_nothing_else(sample, tmp_path):
    out = tmp_path / "split"
    make_split([sample], out, SplitPlan(0.5), CHALLENGE)
    make_split([sample], out, SplitPlan(0.5, seed=1), CHALLENGE)
    assert [path.name for path in tmp_path.iterdir()] == ["split"]
    (out / "train" / "thesis.txt").write_text("years of work")
    for place in (out, sample.parent / "docs", out / "split.csv"):
        with pytest.raises(UsageError, match=r"is no split of ours: .* would be lost"):
            make_split([sample], place, SplitPlan(0.5), CHALLENGE)
    assert (out / "train" / "thesis.txt").exists()
    with pytest.raises(OutputError, match="Cannot write"):
        make_split([sample], out / "split.csv" / "below", SplitPlan(0.5), CHALLENGE)


def test_a_fault_half_way_leaves_the_earlier_split(sample, tmp_path, monkeypatch):
    out = tmp_path / "split"
    make_split([sample], out, SplitPlan(0.5), CHALLENGE)
    before = (out / "split.csv").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dfdc_kit.data.split_files._write_validation", full)
    with pytest.raises(OutputError, match="No space left on device"):
        make_split([sample], out, SplitPlan(0.5, seed=1), CHALLENGE)
    assert (out / "split.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["split"]


def test_the_public_test_is_refused(dfdc, sample, tmp_path):
    folder = tmp_path / "test_videos"
    folder.mkdir()
    (folder / "metadata.json").write_text(
        '{"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE", "original": "a.mp4"}}'
    )
    for path in (folder, folder / "metadata.json"):
        done = dfdc("data", "split", path)
        assert done.returncode == 2
        assert "no validation set" in " ".join(done.stderr.split())
    assert not (tmp_path / "split").exists()


def test_names_of_the_sample_submission_are_kept_out_of_validation(tmp_path):
    rows = {f"r{i}.mp4": {"label": "REAL"} for i in range(40)}
    (tmp_path / "train_sample_videos").mkdir()
    (tmp_path / "train_sample_videos" / "metadata.json").write_text(json.dumps(rows))
    (tmp_path / "sample_submission.csv").write_text("filename,label\n" + "".join(f"r{i}.mp4,0\n" for i in range(20)))
    report = make_split([tmp_path], tmp_path / "split", SplitPlan(0.5), CHALLENGE)
    assert report.public_test > 0
    held = table(tmp_path / "split" / "validation" / "sample_submission.csv")
    assert not {row["filename"] for row in held} & {f"r{i}.mp4" for i in range(20)}


# --------------------------------------------------------------------------------------------------------------- labels


@pytest.fixture
def parts(tmp_path) -> Path:
    """Two parts, one of whose REAL rows have `original: null` and the other's no such key; and loose metadata."""
    for part, real in ((0, {"original": None}), (1, {})):
        folder = tmp_path / "data" / f"dfdc_train_part_{part}"
        folder.mkdir(parents=True)
        rows = {
            f"r{part}.mp4": {"label": "REAL", "split": "train", **real},
            f"f{part}.mp4": {"label": "FAKE", "split": "train", "original": f"r{part}.mp4"},
        }
        (folder / "metadata.json").write_text(json.dumps(rows))
    (tmp_path / "dfdc_train_part_07.metadata.json").write_text('{"x,y.mp4": {"label": "REAL"}}')
    return tmp_path / "data"


def test_labels(dfdc, parts, tmp_path):
    done = dfdc("data", "labels", parts, tmp_path / "dfdc_train_part_07.metadata.json", "--out", "out.csv")
    assert done.returncode == 0
    assert "5 videos, 2 FAKE and 3 REAL, from 3 files" in done.stdout
    written = (tmp_path / "out.csv").read_bytes()
    assert written == b'filename,label\nf0.mp4,1\nf1.mp4,1\nr0.mp4,0\nr1.mp4,0\n"x,y.mp4",0\n'
    report = json.loads(dfdc("data", "labels", parts / "dfdc_train_part_0", "--json").stdout)
    assert (report["path"], report["rows"], report["fake"]) == ("solution.csv", 2, 1)
    assert dfdc("score", tmp_path / "out.csv", tmp_path / "out.csv").returncode == 0


def test_labels_are_written_whole_or_not_at_all(dfdc, parts, tmp_path):
    (tmp_path / "solution.csv").write_text("mine")
    again = parts / "again.metadata.json"
    again.write_text('{"r0.mp4": {"label": "FAKE", "original": "q.mp4"}}')
    done = dfdc("data", "labels", parts, again)
    assert done.returncode == 3
    said = " ".join(done.stderr.split())
    assert "contradicts itself about 1 video:" in said
    assert "dfdc_train_part_0/metadata.json" in done.stderr
    assert "again.metadata.json" in done.stderr
    assert (tmp_path / "solution.csv").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if "solution" in path.name) == ["solution.csv"]


def test_the_same_video_with_the_same_label_twice_is_one(parts):
    sample = parts / "train_sample_videos"
    sample.mkdir()
    (sample / "metadata.json").write_text('{"r0.mp4": {"label": "REAL"}, "f0.mp4": {"label": "FAKE"}}')
    catalogue = read(parts)
    assert len(catalogue) == 4
    assert dict(zip(catalogue.names, catalogue.roots(), strict=True))["f0.mp4"] == "r0.mp4"
    assert {catalogue.place(i) for i in range(4)} == {"dfdc_train_part_0", "dfdc_train_part_1"}


def read(*paths: Path) -> Catalogue:
    from dfdc_kit.data.catalogue import read_catalogue

    return read_catalogue(paths, CHALLENGE)


def test_metadata_is_found_once(parts):
    part = parts / "dfdc_train_part_0"
    assert len(read(parts, part, part / "metadata.json", part / ".." / "dfdc_train_part_0").label_files) == 2
    assert [file.parent.name for file in find_metadata(parts, CHALLENGE)] == ["dfdc_train_part_0", "dfdc_train_part_1"]
    with pytest.raises(DataMissingError, match="holds no metadata"):
        find_metadata(Path(__file__).parents[1] / "benchmarks", CHALLENGE)
    with pytest.raises(UsageError, match=r"seen a .py, expected metadata: .json or .csv"):
        find_metadata(Path(__file__), CHALLENGE)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("dfdc_train_part_0", 0), ("dfdc_train_part_49", 49), ("dfdc_train_part_07", 7),
        ("dfdc_train_part_", -1), ("dfdc_train_part_x", -1), ("train_sample_videos", -1), ("my_dfdc_train_part_1", -1),
    ],
)  # fmt: skip
def test_parts_by_name(name, part):
    assert part_of(name, CHALLENGE) == part
