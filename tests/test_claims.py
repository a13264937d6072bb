"""The page on other papers' claims says what was measured, of every method that it makes a claim about."""

from pathlib import Path

import pytest

from core.unlearn import METHODS
from tests.claims_tables import CLAIMED, CLASS, RANDOM, cross_rows, mnemonic_rows, read, share_rows

PAGE = Path(__file__).parents[1].joinpath("core", "CLAIMS.md").read_text()
SCENARIOS = {CLASS: "class", RANDOM: "random"}
ROWS = [row for path in SCENARIOS for row in cross_rows(path)]


@pytest.mark.parametrize(
    "row", [*ROWS, *mnemonic_rows(), *share_rows()], ids=lambda row: row.split("|")[1].strip()
)
def test_the_page_prints_what_was_measured(row):
    assert row in PAGE


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_claimed_method_that_can_forget_so_is_measured_on_three_seeds_and_both_networks(path):
    found = read(path)
    able = {name for name in CLAIMED if SCENARIOS[path] in METHODS[name].scenarios}
    assert able <= found.keys(), f"{path.name} lacks rows of methods in tests/claims_tables.CLAIMED"
    counts = {len(found[name][quant]["ta"]) for name in able for quant in ("fp", "4w4a")}
    assert counts == {3}
