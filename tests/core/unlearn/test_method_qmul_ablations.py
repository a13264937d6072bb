"""Q-MUL without one of its halves (the paper, table 2): what is left is the other half, or RL."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare

from core.unlearn import METHODS
from core.unlearn.qmul import QMULParams
from core.unlearn.qmul_no_agr import QMULNoAGRParams
from core.unlearn.qmul_no_sl import QMULNoSLParams
from tests.core.toy_problem import (
    CLASSES,
    differing,
    gradient_of,
    length,
    linear_problem,
    record_epochs,
    seeded,
)

SHORT = {"epochs": 2, "batch_size": 24, "lr": 0.02}


def trained(name, problem, params):
    """The result and the generator's state after it."""
    generator = seeded()
    return METHODS[name].run(problem, params, generator, None), generator.get_state()


@pytest.fixture
def mixed(monkeypatch):
    """(forget, retain) as every epoch mixes them."""
    return record_epochs(monkeypatch, "qmul")


@pytest.mark.parametrize("protocol", ["paper", "released"])
@pytest.mark.parametrize(
    ("name", "restored"), [("qmul_no_sl", {"labels": "similar"}), ("qmul_no_agr", {"weights": "adaptive"})]
)
def test_with_the_other_half_restored_it_is_qmul_bit_for_bit(problem, name, restored, protocol):
    found = []
    for method, options in ((METHODS["qmul"], {}), (METHODS[name], restored)):
        released = method.released if protocol == "released" else {}
        found.append(trained(method.name, problem, method.params(**{**SHORT, **released, **options})))
    assert differing(found[0][0], found[1][0]) == []
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("protocol", ["paper", "released"])
@pytest.mark.parametrize("order", ["joint", "sequential"])
def test_without_both_halves_it_is_random_labels_number_for_number(problem, order, protocol):
    """Weights of one and labels drawn before every epoch: RL's draws, in RL's order, and nothing measured."""
    found = []
    for method, options in (
        (METHODS["rl"], {}),
        (METHODS["qmul_no_agr"], {"labels": "random", "label_refresh": "epoch"}),
    ):
        released = dict(method.released) if protocol == "released" else {}
        options = options | {"true_label_possible": protocol == "released", "order": order}
        found.append(trained(method.name, problem, method.params(**(SHORT | released | options))))
    assert differing(found[0][0], found[1][0]) == []
    assert torch.equal(found[0][1], found[1][1])


def test_defaults_leave_out_one_half_each_and_keep_everything_else():
    whole = QMULParams().model_dump()
    assert QMULNoSLParams().model_dump() == whole | {"labels": "random"}
    assert QMULNoAGRParams().model_dump() == whole | {"weights": "one"}


@pytest.mark.parametrize("refresh", ["once", "epoch"])
def test_without_similar_labels_they_are_random_and_never_true(problem, mixed, refresh):
    METHODS["qmul_no_sl"].run(problem, QMULNoSLParams(label_refresh=refresh, **SHORT), seeded(), None)
    drawn = [forget.labels for forget, _ in mixed]
    assert torch.equal(*drawn) is (refresh == "once")
    assert not any((labels == problem.forget.labels).any() for labels in drawn)


@pytest.mark.parametrize(("true_label_possible", "first"), [(False, 1), (True, 0)])
def test_the_wrong_labels_are_equally_likely_and_on_request_the_true_one_too(
    mixed, true_label_possible, first
):
    """A thousand images of class 0: with the true label possible, every class is as likely."""
    problem = linear_problem(1, 1)
    many = replace(problem, forget=problem.forget.select(torch.zeros(1000, dtype=torch.int64)))
    params = QMULNoSLParams(true_label_possible=true_label_possible, epochs=1)
    METHODS["qmul_no_sl"].run(many, params, seeded(), None)
    counts = mixed[0][0].labels.bincount(minlength=CLASSES)
    assert counts[:first].sum() == 0
    assert chisquare(counts[first:].numpy()).pvalue > 1e-3


def test_without_similar_labels_the_sets_are_weighed_by_the_random_labels_gradients(problem, mixed):
    told = []
    params = QMULNoSLParams(**SHORT | {"epochs": 1})
    METHODS["qmul_no_sl"].run(problem, params, seeded(), lambda _epoch, facts: told.append(facts))
    G_f = length(gradient_of(problem.model, mixed[0][0]))
    assert told[0]["forget_gradient_norm"] == pytest.approx(G_f, rel=1e-3)
    G_r = told[0]["retain_gradient_norm"]
    assert told[0]["w_forget"] == pytest.approx(G_r / (G_f + G_r), rel=1e-3)


def test_weights_of_one_are_no_weights_so_that_the_loss_is_that_of_random_labels(problem, mixed):
    METHODS["qmul_no_agr"].run(problem, QMULNoAGRParams(**SHORT), seeded(), None)
    assert [images.weights for epoch in mixed for images in epoch] == [None] * 4


def test_without_reweighting_half_is_the_other_reading(problem):
    told = []
    params = QMULNoAGRParams(weights="half", **SHORT)
    METHODS["qmul_no_agr"].run(problem, params, seeded(), lambda _epoch, facts: told.append(facts))
    assert [(f["w_forget"], f["w_retain"]) for f in told] == [(0.5, 0.5)] * 2
