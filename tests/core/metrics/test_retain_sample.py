"""RA on a sample after every epoch: what it is of, and that asking changes nothing."""

from dataclasses import replace

import pytest
import torch

from core.metrics.predictions import predict
from core.metrics.sample import LARGEST, SMALLEST, RetainSample
from core.train.loop import Callbacks, TrainParams
from core.unlearn import METHODS
from tests.core.toy_problem import (
    AUGMENTING,
    PLAIN,
    SHORT,
    Watch,
    differing,
    seeded,
    state_of,
    suited,
    toy_images,
    toy_model,
)

EPOCHED = [name for name, method in METHODS.items() if issubclass(method.params, TrainParams)]


@torch.no_grad()
def logits_of(model, images):
    """Of two plain images, in eval mode: what the accuracy is read off."""
    training = model.training
    logits = model.eval()(PLAIN.normalise(images.pixels[:2]))
    model.train(training)
    return logits


def trained(problem, name, watched):
    """(result, generator's state, facts by epoch, what was measured)."""
    method, generator, told = METHODS[name], seeded(), []
    problem = suited(replace(problem, augment=AUGMENTING), method)
    sample, measured = RetainSample(problem.retain, problem.augment), []

    def measure(model):
        assert logits_of(model, problem.retain).shape == (2, problem.classes)  # not features
        measured.append(sample(model))
        return measured[-1]

    problem = replace(problem, callbacks=Callbacks(after_epoch=measure if watched else None))
    params = method.params(**{k: v for k, v in SHORT.items() if k in method.params.model_fields})
    found = method.run(problem, params, generator, lambda _epoch, facts: told.append(facts))
    return found, generator.get_state(), told, measured


@pytest.mark.parametrize("name", EPOCHED)
def test_every_method_with_epochs_tells_it_and_ends_with_the_same_bits(problem, name):
    without, watched = trained(problem, name, False), trained(problem, name, True)
    assert differing(without[0], watched[0]) == []
    assert torch.equal(without[1], watched[1])
    for silent, told in zip(without[2], watched[2], strict=True):
        assert {key: told[key] for key in silent} == silent
        assert told.keys() - silent.keys() == {"retain_accuracy"}
    assert [told["retain_accuracy"] for told in watched[2]] == [m["retain_accuracy"] for m in watched[3]]


@pytest.mark.parametrize("training", [True, False])
def test_measuring_reads_plain_images_in_eval_mode_and_changes_nothing(training):
    model, images = toy_model().train(training), toy_images(100)
    before, watch = state_of(model), Watch(model).train(training)
    RetainSample(images, AUGMENTING)(watch)
    ((seen_training, with_gradients, pixels, _),) = watch.log
    assert (seen_training, with_gradients, model.training) == (False, False, training)
    assert torch.equal(pixels, AUGMENTING.normalise(images.evenly(SMALLEST).pixels))
    assert differing(before, model) == []


@pytest.mark.parametrize(("count", "expected"), [(30, 30), (100, SMALLEST), (1500, 150), (40_500, LARGEST)])
def test_the_sample_is_a_tenth_evenly_spread_within_bounds(count, expected):
    images = toy_images(4).select(torch.arange(count) % 4).relabelled(torch.arange(count))
    chosen = RetainSample(images, PLAIN).images.labels
    assert len(chosen) == expected
    assert int(chosen[0]) == 0
    gaps = chosen.diff()
    assert int(gaps.min()) >= 1
    assert int(gaps.max()) - int(gaps.min()) <= 1
    assert count - int(chosen[-1]) <= int(gaps.max())


def test_it_is_the_accuracy_in_percent():
    model, images = toy_model(), toy_images(60)
    assert RetainSample(images, PLAIN)(model) == {"retain_accuracy": predict(model, images, PLAIN).accuracy}
