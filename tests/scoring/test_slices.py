"""Slices: the planted one is found, chance ones are not, and the test agrees with scipy where rows are independent."""

import json

import numpy as np
import pytest
from scipy.stats import ttest_ind

from dfdc_kit.errors import UsageError
from dfdc_kit.scoring.slices import difference_test, find_slices, holm


def planted(count=600, seed=0):
    random = np.random.default_rng(seed)
    portrait = random.random(count) < 0.3
    losses = random.exponential(np.where(portrait, 0.8, 0.4))
    noise = {f"noise{at}": random.choice(["a", "b", "c"], count).tolist() for at in range(4)}
    columns = {"orientation": np.where(portrait, "portrait", "landscape").tolist(), **noise}
    return losses, columns, [str(at // 2) for at in range(count)]


def test_slice_with_the_planted_loss_is_first_and_significant():
    losses, columns, clusters = planted()
    found = find_slices(losses, columns, clusters)
    assert (found[0].column, found[0].value) == ("orientation", "portrait")
    assert found[0].significant
    assert found[0].difference > 0.2
    assert [one.value for one in found if one.significant] == ["portrait", "landscape"]
    assert sum(one.rows for one in found if one.column == "noise0") == len(losses)
    assert sum(one.share for one in found if one.column == "noise0") == pytest.approx(1)


def test_difference_of_equal_slices_is_significant_in_one_of_twenty_samples():
    random = np.random.default_rng(1)
    codes = np.arange(120) // 2
    p_values = []
    for _ in range(600):
        losses = random.exponential(0.5, 120) + np.repeat(random.exponential(0.5, 60), 2)
        inside = random.random(120) < 0.4
        p_values.append(difference_test(losses, codes, inside, ~inside)[1])
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.075


def test_difference_without_clusters_is_welch_s_test():
    losses, columns, _ = planted(200)
    inside = np.array(columns["orientation"]) == "portrait"
    interval, p = difference_test(losses, np.arange(200), inside, ~inside)
    theirs = ttest_ind(losses[inside], losses[~inside], equal_var=False)
    ours = (losses[inside].mean() - losses[~inside].mean()) / theirs.statistic  # the standard error
    half = (interval.high - interval.low) / 2
    assert half / ours == pytest.approx(1.96, rel=0.05)
    assert np.log10(p) == pytest.approx(np.log10(theirs.pvalue), rel=0.2)


def test_difference_of_rows_that_repeat_in_their_cluster_has_a_wider_interval():
    losses, columns, _ = planted(200)
    inside = np.array(columns["orientation"]) == "portrait"
    once = difference_test(losses, np.arange(200), inside, ~inside)[0]
    four = [np.repeat(values, 4) for values in (losses, inside)]
    counted = difference_test(four[0], np.repeat(np.arange(200), 4), four[1], ~four[1])[0]
    naive = difference_test(four[0], np.arange(800), four[1], ~four[1])[0]
    width = [one.high - one.low for one in (once, counted, naive)]
    assert width[1] == pytest.approx(width[0])
    assert width[2] < 0.6 * width[0]


def test_slices_with_few_clusters_are_last_and_not_tested():
    losses, columns, clusters = planted(40)
    columns["rare"] = ["yes", "yes", *["no"] * 38]
    losses[:2] = 9.0
    last = find_slices(losses, columns, clusters)[-2:]
    assert {one.column for one in last} == {"rare"}
    assert {one.p_value for one in last} == {None}


def test_holm_is_the_textbook_correction():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_column_of_many_numbers_is_cut_at_its_quartiles_and_of_many_texts_refused():
    losses, _, clusters = planted(100)
    found = find_slices(losses, {"size": [str(at) for at in range(100)]}, clusters)
    assert [one.rows for one in sorted(found, key=lambda one: one.value)] == [25, 25, 25, 25]
    with pytest.raises(UsageError, match="100 different values"):
        find_slices(losses, {"name": [f"v{at}" for at in range(100)]}, clusters)


@pytest.fixture
def guess(tmp_path, sample):
    """A submission for the bundled sample: sure of FAKE for everything."""
    text = (sample / "sample_submission.csv").read_text().replace(",0\n", ",0.9\n")
    (tmp_path / "mine.csv").write_text(text)
    return tmp_path


def test_slices_command_reads_headers_and_other_columns(dfdc, guess, sample):
    (guess / "more.csv").write_text("filename,actor\ncsjgbjbvpc.mp4,Ada\ndsbsgjdjmw.mp4,Bo\n")
    done = dfdc("slices", "mine.csv", "--solution", sample, "--metadata", "more.csv", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"label", "Usage", "actor", "orientation", "resolution", "fps", "audio", "size"} <= set(found["columns"])
    real = next(one for one in found["slices"] if (one["column"], one["value"]) == ("label", "REAL"))
    assert real["loss"] == pytest.approx(-np.log(0.1))
    assert found["slices"][0] == real
    sizes = [one for one in found["slices"] if one["column"] == "size"]
    assert sum(one["rows"] for one in sizes) == 16
    assert all(one["value"].endswith(" MiB") for one in sizes)
    assert all(one["interval"]["low"] >= 0 for one in found["slices"] if one["interval"])


def test_slices_command_prints_the_worst_first(dfdc, guess, sample):
    done = dfdc("slices", "mine.csv", "--solution", sample, "--by", "label,Usage")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[3].startswith("label REAL")
    assert "corrected for" in lines[-1]


def test_slices_command_names_the_known_columns_for_an_unknown_one(dfdc, guess, sample):
    done = dfdc("slices", "mine.csv", "--solution", sample, "--by", "orientatoin")
    assert done.returncode == 2
    assert "Unknown column 'orientatoin'" in done.stderr
    assert "orientation" in done.stderr.split("hint")[1]
