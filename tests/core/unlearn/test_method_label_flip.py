"""Label flipping and partial ascent, with layer-wise partial updates (ALGORITHMS 7.3B, 7.4 part 2)."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st

from core.data.loader import batches
from core.quant import quantizer_parameters
from core.train.loop import fit
from core.unlearn.gradient_ascent import GAParams, gradient_ascent
from core.unlearn.label_flip import LabelFlipParams, label_flip
from core.unlearn.parameters import normalisation_parameters
from core.unlearn.partial import largest_entries
from core.unlearn.partial_ascent import PartialAscentParams, partial_ascent
from core.unlearn.random_labels import epoch_in_order, random_labels
from tests.core.toy_problem import (
    CLASSES,
    PLAIN,
    class_problem,
    differing,
    gradient_of,
    linear_problem,
    loss_on,
    parameters_of,
    seeded,
)

SHORT = {"epochs": 2, "batch_size": 24, "lr": 0.02}
ONE_STEP = {"epochs": 1, "batch_size": 96, "momentum": 0.0, "weight_decay": 0.0, "step_trust": None}
CHOICES = [(s, r) for s in ("topk", "random") for r in ("step", "epoch", "once")]
METHODS = [(label_flip, LabelFlipParams), (partial_ascent, PartialAscentParams)]

every_choice = pytest.mark.parametrize(("selection", "refresh"), CHOICES)
both = pytest.mark.parametrize(("run", "kind"), METHODS, ids=["label_flip", "partial_ascent"])


def moved_entries(problem, found):
    """Boolean, by parameter name: what is not bit-identical any more."""
    start = parameters_of(problem.model)
    return {name: p != start[name] for name, p in parameters_of(found).items()}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.floats(0, 1), st.booleans())
def test_a_choice_holds_so_many_entries_rounded_up(size, fraction, tied):
    scores = torch.zeros(size) if tied else torch.rand(size, generator=seeded(size))
    chosen = largest_entries(scores, fraction)
    assert int(chosen.sum()) == math.ceil(fraction * size)
    assert set(chosen.unique().tolist()) <= {0.0, 1.0}


def test_a_choice_is_the_largest_in_any_shape_and_memory_order():
    scores = torch.rand((4, 3, 5, 5), generator=seeded()).to(memory_format=torch.channels_last)
    chosen = largest_entries(scores, 0.1).bool()
    assert float(scores[chosen].min()) > float(scores[~chosen].max())
    assert largest_entries(torch.tensor(3.0), 0.01).item() == 1


@every_choice
def test_a_share_of_one_is_the_whole_method(problem, selection, refresh):
    params = PartialAscentParams(fraction=1, selection=selection, refresh=refresh, **SHORT)
    found = partial_ascent(problem, params, seeded())
    assert differing(found, gradient_ascent(problem, GAParams(**SHORT), seeded())) == []


@every_choice
def test_a_share_of_one_is_training_on_flipped_labels(problem, selection, refresh):
    params = LabelFlipParams(fraction=1, selection=selection, refresh=refresh, **SHORT)
    found, generator = label_flip(problem, params, seeded()), seeded()
    forget = problem.forget.relabelled(random_labels(problem.forget.labels, CLASSES, generator, False))
    fit(
        problem.model,
        lambda _e: epoch_in_order(forget, problem.retain, "joint", params, problem, generator),
        params,
        generator,
    )
    assert differing(found, problem.model) == []


@both
@every_choice
def test_a_share_of_nothing_moves_no_parameter(problem, run, kind, selection, refresh):
    params = kind(fraction=0, selection=selection, refresh=refresh, weight_decay=0.1, **SHORT)
    found = run(problem, params, seeded())
    assert not any(bool(moved.any()) for moved in moved_entries(problem, found).values())
    assert all("running" in name or "tracked" in name for name in differing(found, problem.model))


@both
@pytest.mark.parametrize("selection", ["topk", "random"])
@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.9])
def test_a_step_moves_the_share_of_every_layer_rounded_up(problem, run, kind, selection, fraction):
    """Decay moves whatever may move, also what has no gradient."""
    params = kind(fraction=fraction, selection=selection, **ONE_STEP | {"weight_decay": 0.1, "lr": 0.01})
    for name, moved in moved_entries(problem, run(problem, params, seeded())).items():
        most = math.ceil(fraction * moved.numel())
        assert int(moved.sum()) <= most
        if name.endswith("weight") and moved.dim() > 1:
            assert int(moved.sum()) == most


def test_the_largest_gradients_are_moved():
    """One step of ascent on all of the forget set: what moves has the layer's largest gradients."""
    problem = linear_problem(24, 1)
    found = partial_ascent(problem, PartialAscentParams(fraction=0.1, **ONE_STEP), seeded())
    gradients = gradient_of(problem.model, problem.forget)
    for grad, moved in zip(gradients, moved_entries(problem, found).values(), strict=True):
        assert moved.sum() == math.ceil(0.1 * moved.numel())
        assert float(grad[moved].abs().min()) >= float(grad[~moved].abs().max()) * 0.999


@pytest.mark.parametrize("selection", ["topk", "random"])
def test_a_choice_lasts_as_long_as_it_is_said_to(problem, selection):
    """Of 2 epochs of 4 steps each, so many different choices of a tenth add up."""
    moved = {}
    for refresh in ("once", "epoch", "step"):
        params = LabelFlipParams(fraction=0.1, selection=selection, refresh=refresh, **SHORT)
        entries = moved_entries(problem, label_flip(problem, params, seeded()))["stages.0.0.conv1.weight"]
        moved[refresh] = int(entries.sum()) / math.ceil(0.1 * entries.numel())
    assert moved["once"] <= 1 < moved["epoch"] <= 2 < moved["step"] <= 8


def test_how_far_one_step_goes_grows_with_the_share(problem):
    def distance(fraction):
        found = label_flip(problem, LabelFlipParams(fraction=fraction, **ONE_STEP), seeded())
        start = parameters_of(problem.model)
        return sum(float((p - start[name]).square().sum()) for name, p in parameters_of(found).items())

    shares = [distance(fraction) for fraction in (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)]
    assert shares == sorted(shares)
    assert shares[0] < 0.9 * shares[-1]


@both
def test_where_only_weights_are_partial_the_rest_moves_as_it_likes(problem, run, kind):
    found = run(problem, kind(fraction=0, partly="weights", **SHORT), seeded())
    free = {name for name, moved in moved_entries(problem, found).items() if moved.any()}
    expected = quantizer_parameters(problem.model) | normalisation_parameters(problem.model)
    assert free
    assert free <= expected | {"classifier.bias"}


def test_labels_are_wrong_and_stay_the_same(problem, monkeypatch):
    """Every epoch reads each image once, by a mark in its pixels."""
    marks = torch.arange(96, dtype=torch.uint8).view(96, 1, 1, 1).expand(96, 3, 8, 8)
    parts = replace(problem.forget, pixels=marks[:24]), replace(problem.retain, pixels=marks[24:])
    found = []

    def recorded(*arguments):
        given = list(batches(*arguments))
        found.append(given)
        return given

    monkeypatch.setattr("core.unlearn.label_flip.batches", recorded)
    marked = replace(problem, forget=parts[0], retain=parts[1], augment=PLAIN)
    label_flip(marked, LabelFlipParams(**SHORT | {"epochs": 3}), seeded())
    assert len(found) == 3
    for epoch in found:
        values = torch.cat([batch.images[:, 0, 0, 0] for batch in epoch])
        labels = torch.cat([batch.labels for batch in epoch])[values.argsort()]
        if epoch is found[0]:
            first = labels
        assert torch.equal(labels, first)
        assert not bool((labels[:24] == problem.forget.labels).any())
        assert torch.equal(labels[24:], problem.retain.labels)


def test_flipping_forgets_a_class():
    problem = class_problem()
    found = label_flip(problem, LabelFlipParams(epochs=4, lr=0.05, batch_size=24), seeded())
    assert loss_on(found, problem.forget) > math.log(CLASSES)


def test_min_max_reads_the_retain_set_and_ascent_does_not(problem):
    fewer = replace(problem, retain=problem.retain.select(torch.arange(10)))
    runs = {
        objective: [
            partial_ascent(p, PartialAscentParams(objective=objective, **SHORT), seeded())
            for p in (problem, fewer)
        ]
        for objective in ("ascent", "min_max")
    }
    assert differing(*runs["ascent"]) == []
    assert differing(*runs["min_max"])


def test_min_max_climbs_one_loss_and_descends_the_other():
    """One step on everything, against the gradients of both sets weighed by their sizes."""
    problem = replace(class_problem(), augment=PLAIN)
    params = PartialAscentParams(objective="min_max", fraction=1, **ONE_STEP | {"lr": 1e-3})
    found = partial_ascent(problem, params, seeded())
    rises = [loss_on(found, part) - loss_on(problem.model, part) for part in (problem.forget, problem.retain)]
    assert rises[0] > rises[1]
