"""The page on fidelity says what was measured, and names every switch there is."""

from pathlib import Path
from statistics import fmean

import pytest

from core.metrics.gap import mismatched_accuracy
from core.unlearn import METHODS
from orchestrator.spec.recipes import SWITCHES
from tests.fidelity_table import STORED, read, rows

PAGE = Path(__file__).parents[1].joinpath("core", "FIDELITY.md").read_text()


@pytest.mark.parametrize("row", list(rows(STORED)), ids=lambda row: row.split("`")[1])
def test_the_page_prints_what_was_measured(row):
    assert row in PAGE


def test_three_seeds_stand_behind_every_row():
    assert {len(seeds) for seeds in read(STORED).values()} == {3}


@pytest.mark.parametrize(
    "option", sorted({o for method in METHODS.values() for o in method.released} | {"split", "blocks"})
)
def test_every_published_deed_is_explained(option):
    assert f"`{option}" in PAGE


def test_every_switch_of_the_recipe_is_measured():
    labels = {label for name, switches in SWITCHES.items() for label in (f"{name}:{s}" for s in switches)}
    assert labels <= set(read(STORED))


@pytest.mark.parametrize("label", ["original", "ga"])
def test_the_mismatched_split_lowers_an_untouched_model_as_predicted(label):
    found = read(STORED.with_name("released.csv"))
    untouched = found["original"]
    predicted = fmean(mismatched_accuracy(100.0, figures["ta"]) for figures in untouched.values())
    measured = fmean(figures["fa"] for figures in found[label].values())
    assert abs(measured - predicted) < 1  # 540 images: sampling error of a mean over three seeds is 0.6
    assert f"{measured:.1f}" in PAGE
    assert f"the prediction is {predicted:.1f}" in PAGE
