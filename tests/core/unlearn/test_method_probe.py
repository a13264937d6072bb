"""The gradient norms that every iterative method tells on request, and that asking changes nothing."""

from dataclasses import replace

import pytest
import torch

from core.unlearn import METHODS, UnlearnParams
from core.unlearn.gradient_norms import gradient_probe
from tests.core.toy_problem import (
    AUGMENTING,
    SHORT,
    Watch,
    differing,
    gradient_of,
    length,
    record_epochs,
    seeded,
    state_of,
    suited,
)

NORMS = {"forget_gradient_norm", "retain_gradient_norm"}
PROBED = [name for name, m in METHODS.items() if issubclass(m.params, UnlearnParams)]
MEASURES_ITSELF = {"qmul", "qmul_no_sl"}
RELABELLING = {"rl": "random_labels", "salun": "random_labels", "qmul_no_agr": "qmul"}


def trained(problem, name, probe, protocol="paper"):
    """(result, generator's state, facts by epoch)."""
    method, generator, told = METHODS[name], seeded(), []
    released = method.released if protocol == "released" else {}
    short = {key: value for key, value in SHORT.items() if key in method.params.model_fields}
    params = method.params(**short | {"probe": probe} | released)
    found = method.run(suited(problem, method), params, generator, lambda _epoch, facts: told.append(facts))
    return found, generator.get_state(), told


def test_every_iterative_method_but_retrain_has_a_probe_that_is_off():
    iterative = {name for name in METHODS if "epochs" in METHODS[name].params.model_fields} - {"retrain"}
    without = iterative - set(PROBED)
    assert not without, (
        f"{without}: hyper-parameters with epochs derive from UnlearnParams, which has the probe"
    )
    assert {METHODS[name].params().probe for name in PROBED} == {0}


@pytest.mark.parametrize("protocol", ["paper", "released"])
@pytest.mark.parametrize("name", PROBED)
def test_asking_changes_neither_the_result_nor_the_draws(problem, name, protocol):
    problem = replace(problem, augment=AUGMENTING)
    off, on = (trained(problem, name, probe, protocol) for probe in (0, 10))
    assert differing(off[0], on[0]) == []
    assert torch.equal(off[1], on[1])
    for silent, told in zip(off[2], on[2], strict=True):
        assert {key: told[key] for key in silent} == silent
        assert told.keys() - silent.keys() == (set() if name in MEASURES_ITSELF else NORMS)


def test_measuring_changes_nothing_of_the_model_but_its_mode(problem):
    before = state_of(problem.model)
    problem.model.train()
    gradient_probe(problem.model, problem, UnlearnParams(probe=10))(0)
    assert differing(before, problem.model) == []
    assert all(p.grad is None for p in problem.model.parameters())


def test_it_reads_the_first_images_plain_and_in_eval_mode(problem):
    model = Watch(problem.model.train())
    gradient_probe(model, replace(problem, augment=AUGMENTING), UnlearnParams(probe=30, batch_size=20))(0)
    expected = [problem.forget.pixels[:20], problem.forget.pixels[20:], problem.retain.pixels[:20]]
    expected.append(problem.retain.pixels[20:30])
    assert [training for training, *_ in model.log] == [False] * 4
    for (*_, seen, _), pixels in zip(model.log, expected, strict=True):
        assert torch.equal(seen, problem.augment.normalise(pixels))


@pytest.mark.parametrize("name", ["ft", "ga", "l1_sparse"])
def test_the_norms_are_of_the_true_labels_before_the_first_step(problem, name):
    told = trained(problem, name, 10)[2][0]
    first = torch.arange(10)
    for part in ("forget", "retain"):
        expected = length(gradient_of(problem.model, getattr(problem, part).select(first)))
        assert told[f"{part}_gradient_norm"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", RELABELLING)
def test_the_norms_are_of_the_labels_that_this_very_epoch_trains_on(problem, name, monkeypatch):
    """And of the model as the epoch before left it: with a constant rate, a run of one epoch."""
    mixed = record_epochs(monkeypatch, RELABELLING[name])
    method, told = METHODS[name], []
    common = {"batch_size": 24, "probe": 24, "schedule": "constant"}
    after_one = method.run(problem, method.params(epochs=1, **common), seeded(), None)
    mixed.clear()
    method.run(problem, method.params(epochs=2, **common), seeded(), lambda _epoch, facts: told.append(facts))
    for model, (forget, _), facts in zip((problem.model, after_one), mixed, told, strict=True):
        expected = length(gradient_of(model, forget))
        assert facts["forget_gradient_norm"] == pytest.approx(expected, rel=1e-3)
    assert torch.equal(mixed[0][0].labels, mixed[1][0].labels) is (name == "qmul_no_agr")


@pytest.mark.parametrize("name", ["qmul", "qmul_no_sl"])
def test_reweighting_tells_the_norms_of_the_whole_sets_whatever_the_probe(problem, name):
    assert trained(problem, name, 0)[2] == trained(problem, name, 10)[2]
