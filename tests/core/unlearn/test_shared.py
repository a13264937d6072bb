"""What trials of one problem share changes no result, and no run time that is told."""

from dataclasses import replace

import pytest
import torch

from core.unlearn import METHODS
from core.unlearn.shared import Shared
from tests.core.toy_problem import SHORT, differing, fresh_problem, seeded, suited

CASES = [
    (name, protocol)
    for name, m in METHODS.items()
    for protocol in ("paper", *(("released",) if m.released else ()))
]
SHARING = {("qmul", "paper"), ("qmul_no_agr", "paper")}  # as published, Q-MUL draws numbers while it measures
SHARING |= {
    (name, protocol)
    for name, protocol in CASES
    if name in ("salun", "iu", "ssd", "sfdn", "unsir", "rfa_lora", "msg", "sfron", "ntk")
}


def trial(problem, name, protocol, share, epochs=2):
    """A trial of a search, at a place in its range."""
    method = METHODS[name]
    options = {key: value for key, value in SHORT.items() if key in method.params.model_fields}
    options |= {key: found.at(share) for key, found in method.space("resnet18").items()}
    if "epochs" in options:
        options["epochs"] = epochs
    released = method.released if protocol == "released" else {}
    return method.run(problem, method.params(**released | options), seeded(), None)


@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_a_later_trial_gives_the_same_bits_alone_and_after_another(name, protocol):
    memory = {}
    problem = suited(fresh_problem(), METHODS[name])
    first, second = (replace(problem, shared=Shared(memory)) for _ in range(2))
    trial(first, name, protocol, 0.1)
    found = trial(second, name, protocol, 0.9)
    assert differing(found, trial(problem, name, protocol, 0.9)) == []
    assert (second.shared.saved > 0) is ((name, protocol) in SHARING)


def test_a_value_is_computed_once_and_its_seconds_are_told_to_whoever_takes_it_over():
    memory, calls = {}, []

    def compute():
        calls.append(1)
        return torch.ones(2)

    first, second = Shared(memory), Shared(memory)
    assert first.once("a", compute) is second.once("a", compute)
    assert len(calls) == 1
    assert (first.saved, second.saved) == (0.0, memory["a"][1])
    assert second.once("b", lambda: 5) == 5


@pytest.mark.parametrize("name", ["iu", "ssd", "sfdn"])
def test_another_length_or_threshold_of_a_one_shot_edit_costs_no_pass(name):
    memory, passes = {}, []
    for share in (0.1, 0.9):
        problem = replace(fresh_problem(), shared=Shared(memory))
        passes.append(0)
        problem.model.register_forward_hook(lambda *_: passes.__setitem__(-1, passes[-1] + 1))
        trial(problem, name, "paper", share)
    assert passes[0] > 0
    assert passes[1] == 0
