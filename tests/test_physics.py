"""What must hold of forgetting on real images, checked on the stored results of the recipe `cifar10_small`.

tests/results/cifar10_small.csv is the report of
    python -m orchestrator.grid --recipe cifar10_small --set data.root=DIR
on CIFAR-10 (JPEG re-encoded Parquet images), seed 1, one run; its columns name code revision and hardware.
"""

import csv
from pathlib import Path

import pytest

FIGURES = ("fa", "ra", "ta", "mia", "ag")


@pytest.fixture(scope="module")
def figures():
    with Path(__file__).with_name("results").joinpath("cifar10_small.csv").open() as file:
        return {row["method"]: {n: float(row[n] or 0) for n in FIGURES} for row in csv.DictReader(file)}


def test_the_original_memorises(figures):
    assert figures["original"]["ra"] >= 95
    assert figures["original"]["ta"] < 60


def test_retrain_treats_forgotten_images_like_test_images_and_the_original_does_not(figures):
    assert abs(figures["retrain"]["fa"] - figures["retrain"]["ta"]) <= 5
    assert abs(figures["original"]["fa"] - figures["original"]["ta"]) > 5


def test_fine_tuning_does_not_forget(figures):
    assert abs(figures["ft"]["fa"] - figures["ft"]["ra"]) <= 5


@pytest.mark.parametrize("method", ["salun", "qmul"])
def test_the_methods_made_to_forget_end_nearer_to_retrain_than_fine_tuning(figures, method):
    assert figures[method]["ag"] < figures["ft"]["ag"]


def test_the_attack_knows_members_of_the_original_from_those_of_retrain(figures):
    assert figures["original"]["mia"] < 10
    assert figures["retrain"]["mia"] > 50
