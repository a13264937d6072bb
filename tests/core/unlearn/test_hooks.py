"""What holds for every hook: it draws on its own, can be cut off, and leaves tensors that its method reads."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch

from core.data.loader import concat
from core.errors import BadInput
from core.unlearn import METHODS
from core.unlearn.retrain import train_from_scratch
from tests.core.cut_off import CutOff, Memory
from tests.core.toy_problem import (
    HOOKED_TRAINING,
    PLAIN,
    SHORT,
    class_problem,
    differing,
    seeded,
    trained_with,
)

HOOKED = [method for method in METHODS.values() if method.hook]
every_hook = pytest.mark.parametrize("method", HOOKED, ids=lambda m: m.name)

# settings under which a hook changes nothing of the training
IDLE = {
    "mnemonic": {"t_mix": 0.0},
    "amnesiac": {},
    "sisa": {"shards": 1, "slices": 1},
    "lwsf": {"code_weight": 0.0},
}
IDLE |= {"erm_ktp": {"masked": 0}}
NEVER_IDLE = {"certified", "arcane"}  # a head is fitted anew; networks of single classes are no classifier


def short(method):
    """Hyper-parameters of a run of an epoch or two."""
    return method.params(**{key: value for key, value in SHORT.items() if key in method.params.model_fields})


@cache
def trained(name):
    """Model and participant of a training that ran to its end; not to be edited."""
    return trained_with(class_problem(), METHODS[name])


def problem_of(method):
    """What that training left, as the method finds it."""
    model, part = trained(method.name)
    changes = {"model": copy.deepcopy(model)} if method.hook.build else {}
    return replace(class_problem(), kept=part.kept(), **changes)


def plain_training(problem):
    images = concat(problem.forget, problem.retain)
    return train_from_scratch(problem.model, images, PLAIN, HOOKED_TRAINING, seeded(1))


def test_a_hook_has_a_setting_under_which_it_changes_nothing_or_is_known_to_have_none():
    assert {method.name for method in HOOKED} == IDLE.keys() | NEVER_IDLE


@pytest.mark.parametrize("method", [METHODS[name] for name in IDLE], ids=lambda m: m.name)
def test_a_hook_that_changes_nothing_leaves_the_training_bit_identical(method):
    problem = class_problem()
    model, _ = trained_with(problem, method, method.params(**IDLE[method.name]))
    assert differing(model, plain_training(problem)) == []


@every_hook
def test_what_is_kept_follows_from_the_seeds(method):
    one, other = trained(method.name), trained_with(class_problem(), method)
    assert differing(one[0], other[0]) == []
    assert differing(one[1].kept(), other[1].kept()) == []
    assert one[1].kept()


@every_hook
def test_a_training_that_was_cut_off_keeps_the_same(method):
    whole, part = trained(method.name)
    cut = Memory(every=1, most=1)
    with pytest.raises(CutOff):
        trained_with(class_problem(), method, checkpoints=cut)
    again, resumed = trained_with(class_problem(), method, checkpoints=Memory(every=1, state=cut.state))
    assert differing(again, whole) == []
    assert differing(resumed.kept(), part.kept()) == []


@every_hook
def test_settings_are_plain_values_of_the_methods_parameters(method):
    setting = method.hook.setting(method.params())
    assert setting
    assert setting.keys() <= method.params.model_fields.keys()


@every_hook
def test_an_original_without_the_hook_is_one_clear_line(method):
    with pytest.raises(BadInput, match=f"{method.name}: .*original"):
        method.run(class_problem(), method.params(), seeded(), None)


@every_hook
def test_the_global_generator_is_left_alone(method):
    torch.manual_seed(17)
    state = torch.get_rng_state()
    problem = problem_of(method)
    method.run(problem, short(method), seeded(), None)
    assert torch.equal(torch.get_rng_state(), state)


@every_hook
def test_what_was_kept_is_never_changed(method):
    problem = problem_of(method)
    before = {name: t.clone() for name, t in problem.kept.items()}
    method.run(replace(problem), short(method), seeded(), None)
    assert differing(before, dict(problem.kept)) == []


@every_hook
def test_no_search_varies_what_the_training_depends_on(method):
    """Else every trial would train an original of its own."""
    setting = method.hook.setting(method.params())
    assert not setting.keys() & method.space("resnet18").keys()
