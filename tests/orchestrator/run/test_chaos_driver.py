"""Drivers that are killed, terminated, or two at once: no row is lost, doubled or changed."""

import pytest

from tests.chaos import driver_faults as faults
from tests.chaos.drivers import Drivers


@pytest.fixture(scope="module")
def drivers(tmp_path_factory, private_surroundings):
    with Drivers(tmp_path_factory.mktemp("drivers"), {}) as started:
        yield started


@pytest.fixture(scope="module")
def undisturbed(drivers, tmp_path_factory):
    return faults.undisturbed(drivers, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.slow
def test_a_driver_killed_twenty_times_loses_nothing(drivers, undisturbed, tmp_path):
    finding = faults.killed(drivers, tmp_path, undisturbed, rounds=20, seed=1)
    assert finding.clean, finding
    assert finding.injected >= 15
    assert finding.recomputed == 0
    assert finding.repeated <= finding.injected  # inline: at most the one node it was at


@pytest.mark.slow
def test_a_driver_killed_in_its_searches_loses_nothing(drivers, tmp_path):
    finding = faults.killed_while_searching(drivers, tmp_path, rounds=8, seed=1)
    assert finding.clean, finding
    assert finding.injected >= 6
    assert finding.recomputed == 0


def test_a_terminated_driver_drains_and_writes_its_report(drivers, undisturbed, tmp_path):
    finding = faults.terminated(drivers, tmp_path, undisturbed, rounds=3)
    assert finding.clean, finding
    assert (finding.recomputed, finding.repeated) == (0, 0)
    assert finding.injected >= 2


def test_two_drivers_at_once_give_what_one_gives(drivers, undisturbed, tmp_path):
    assert faults.two_at_once(drivers, tmp_path, undisturbed).clean
