"""competition.toml: unknown keys and contradictions are errors; bundled competitions are valid."""

from datetime import date

import pytest

from dfdc_kit.competition import rules
from dfdc_kit.errors import DataError, DataMissingError


def changed(tmp_path, old, new, name="dfdc"):
    text = (rules.FOLDER / f"{name}.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    return str(path)


@pytest.mark.parametrize("name", rules.names())
def test_bundled_competition_is_valid(name):
    found, challenge = rules.load(name)
    assert found.metric == challenge.metric.name
    assert challenge.metric_path.is_file()


def test_rules_of_the_dfdc_are_those_of_its_pages():
    found, _ = rules.load("dfdc")
    assert (found.quota.daily, found.finals.count, found.finals.rule) == (2, 2, "chosen")
    assert found.phase("public").end == date(2020, 3, 31)
    assert sum(prize.amount_usd for prize in found.prizes) == 1_000_000
    assert found.medal_places(2265) == (14, 113, 226)


def test_unknown_key_names_the_nearest_one(tmp_path):
    with pytest.raises(DataError, match="dayly") as caught:
        rules.load(changed(tmp_path, "daily = 2", "dayly = 2"))
    assert "Did you mean 'daily'?" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('metric = "log loss"', 'metric = "AUC"', "metric: seen 'AUC', but the challenge"),
        ("end = 2020-03-31", "end = 2019-03-31", "ends on 2019-03-31, before it starts on 2019-12-11"),
        ("end = 2020-03-31", "end = 2020-04-02", "overlap on 2020-04-01"),
        ("[scores]", "[scores]\nmedals = [10, 5, 20]", r"scores.medals: seen \[10, 5, 20\]"),
        ('rule = "chosen"', 'rule = "chosen"\nchosen = {"A" = ["x", "y", "z"]}', "'A' chose 3, at most 2"),
        ("place = 2\n", "place = 1\n", "a place has more than one"),
        ("daily = 2", "daily = 0", "daily"),
        ('ties = "earliest"', 'ties = "oldest"', "oldest"),
    ],
)
def test_contradiction_in_the_rules_is_an_error_that_names_it(tmp_path, old, new, message):
    with pytest.raises(DataError, match=message):
        rules.load(changed(tmp_path, old, new))


def test_unknown_competition_names_the_known_ones():
    with pytest.raises(DataMissingError) as caught:
        rules.load("dfdk")
    assert "Did you mean 'dfdc'?" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("start = 2019-12-11", "start = 2019-12-11T00:00:00Z", "Write the day without quotes and time"),
        ("start = 2019-12-11", "start = 2019-12-11T00:00:00", "Write the day without quotes and time"),
        ("start = 2019-12-11", 'start = "2019-12-11"', "Write the day without quotes and time"),
        ('kind = "public"', 'kind = "publik"', "Did you mean 'public'? Choices: trial, public, private-rerun"),
        ('ties = "earliest"', 'ties = "first"', "Choices: shared, earliest"),
        ("daily = 2", "dailly = 2", "Did you mean 'daily'?"),
    ],
)
def test_value_that_does_not_fit_is_refused_with_what_fits(tmp_path, old, new, hint):
    with pytest.raises(DataError) as raised:
        rules.load(changed(tmp_path, old, new))
    assert hint in raised.value.hint
