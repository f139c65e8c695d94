"""`dfdc baselines NAME`."""

import json

import pytest

from dfdc_kit.cli.app import build_app
from dfdc_kit.errors import UsageError
from dfdc_kit.harness.baselines import model_card
from dfdc_kit.submission.code import baselines


@pytest.mark.parametrize("name", ["frame-stats", "face-stats", "face-cnn"])
def test_card_of_a_trained_baseline_has_its_data_and_held_out_loss(name):
    card = model_card(name)
    assert card.made_with["command"].startswith("python ")
    assert card.held_out["log_loss"] > 0
    assert "# " + name in card.readme


def test_card_of_a_baseline_without_a_model_is_its_readme():
    card = model_card("constant")
    assert (card.made_with, card.held_out, card.clip) == ({}, {}, None)
    assert "constant" in card.readme


def test_unknown_baseline_names_the_nearest_one():
    with pytest.raises(UsageError) as caught:
        model_card("framestats")
    assert "'frame-stats'" in caught.value.hint


@pytest.mark.parametrize("name", sorted(baselines()))
def test_baselines_command_shows_every_card(name, capsys):
    build_app()(["baselines", name], standalone_mode=False)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{name}: ")
    assert "next: dfdc run" in printed
    build_app()(["baselines", name, "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["name"] == name
