"""A method's seconds leave out what is measured beside it."""

import pytest
from torch import nn

from tasks.nodes import timing
from tasks.nodes.timing import MethodClock
from tasks.nodes.unfinished import Partial
from tasks.store.store import Store


class Hands:
    """A clock of which tests turn the hands, and the seconds that torch has compiled for."""

    def __init__(self):
        self.time, self.compiling = 100.0, 0.0


@pytest.fixture
def hands(monkeypatch):
    made = Hands()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: made.time)
    monkeypatch.setattr(timing, "compile_seconds", lambda: made.compiling)
    return made


def epochs(hands, measure):
    """Two epochs of 3 s, with 2 s of compiling in the first, and a measurement of 5 s after each."""

    def measured(_model):
        hands.time += 5
        return {"asked": hands.time}

    def work():
        model, look = nn.Identity(), measure(measured)
        hands.time, hands.compiling = hands.time + 5, 2.0
        assert look(model) == {"asked": 110.0}
        hands.time += 3
        look(model)
        return model

    return work


def test_measuring_and_compiling_are_no_run_time(hands):
    clock = MethodClock()
    _, seconds = clock.timed(epochs(hands, clock.untimed))
    assert seconds == 6
    assert hands.time == 118


def test_the_seconds_of_a_state_are_the_methods_alone(hands, tmp_path):
    store, key = Store(str(tmp_path)), "ab" * 32
    partial = Partial(store, key, 1)
    partial.clock.timed(epochs(hands, partial.clock.untimed))
    partial.save(2, b"two epochs")
    again = Partial(store, key, 1)
    assert again.load() == b"two epochs"
    assert again.spent == 6
