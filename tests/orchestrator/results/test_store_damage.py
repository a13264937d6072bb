"""Every kind of file of a store, damaged in every way: no traceback, no other figure, nothing touched outside."""

import pytest

from tests.chaos import store_damage


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return store_damage.prepare(tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize("case", store_damage.cases(), ids=str)
def test_a_store_withstands(case, prepared, tmp_path):
    assert store_damage.endure(case, prepared, tmp_path) in ("no matter", "set aside", "computed again")


def test_there_are_enough_cases():
    assert len(store_damage.cases()) >= 300
