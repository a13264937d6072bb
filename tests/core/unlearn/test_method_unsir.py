"""UNSIR (ALGORITHMS 8.2)."""

import pytest
import torch
from torch.nn import functional as F

from core.data.loader import Batch, Images
from core.metrics.predictions import predict
from core.unlearn.unsir import UnsirParams, first_of_each_class, maximal_noise, mixed_batches, unsir
from tests.core.toy_problem import AUGMENTING, PLAIN, class_problem, differing, seeded, state_of

SHORT = {"batch_size": 24, "noise_images": 12, "copies": 4}


def test_the_noise_raises_the_loss_of_its_class_and_the_model_stands_still():
    problem = class_problem(1)
    before = state_of(problem.model)

    def loss(steps):
        params = UnsirParams(noise_steps=steps, **SHORT)
        noise = maximal_noise(problem, params, [1], 5)
        assert noise.images.shape == (12, 3, 8, 8)
        assert noise.labels.tolist() == [1] * 12
        with torch.no_grad():
            return float(F.cross_entropy(problem.model(noise.images), noise.labels))

    assert loss(40) > loss(0)
    assert differing(before, problem.model) == []
    assert all(p.grad is None and p.requires_grad for p in problem.model.parameters())


def test_the_penalty_keeps_the_noise_small():
    problem = class_problem()
    sizes = [
        float(maximal_noise(problem, UnsirParams(noise_penalty=penalty, **SHORT), [0], 5).images.norm())
        for penalty in (0.0, 1.0)
    ]
    assert sizes[1] < sizes[0]


def test_every_class_to_forget_has_its_own_noise():
    problem = class_problem()
    noise = maximal_noise(problem, UnsirParams(**SHORT), [0, 2], 5)
    assert noise.labels.bincount().tolist() == [12, 0, 12]
    assert not torch.equal(noise.images[:12], noise.images[12:])


def test_impairing_forgets_the_class_and_repairing_keeps_it_forgotten():
    problem = class_problem()
    assert predict(problem.model, problem.forget, PLAIN).accuracy > 90
    impaired = unsir(problem, UnsirParams(epochs=1, **SHORT), seeded())
    assert predict(impaired, problem.forget, PLAIN).accuracy < 50
    assert predict(impaired, problem.retain, PLAIN).accuracy > 90
    told = []
    repaired = unsir(problem, UnsirParams(epochs=8, **SHORT), seeded(), lambda _e, facts: told.append(facts))
    assert predict(repaired, problem.forget, PLAIN).accuracy < 50
    assert told[-1]["loss"] < told[1]["loss"]


def test_the_default_rates_are_the_published_ones():
    told = []
    unsir(class_problem(), UnsirParams(**SHORT), seeded(), lambda _e, facts: told.append(facts["lr"]))
    assert told == pytest.approx([0.02, 0.01])


def test_the_sample_is_the_first_images_of_each_class():
    labels = torch.tensor([2, 0, 0, 2, 1, 0, 2])
    images = Images(torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1).expand(7, 3, 4, 4), labels)
    found = first_of_each_class(images, 3, 2)
    assert found.pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert found.labels.tolist() == [2, 0, 0, 2, 1]
    assert len(first_of_each_class(images, 3, 100)) == 7


@pytest.mark.parametrize("transform", [PLAIN, AUGMENTING], ids=["plain", "augmented"])
def test_an_epoch_with_noise_holds_every_copy_and_every_image_once(transform):
    problem = class_problem()
    noise = Batch(torch.full((5, 3, 8, 8), 99.0), torch.zeros(5, dtype=torch.int64), None)
    found = list(mixed_batches(noise, 3, problem.retain, 16, transform, seeded()))
    labels = torch.cat([batch.labels for batch in found])
    made = torch.cat([batch.images for batch in found])[:, 0, 0, 0] == 99
    assert [len(batch.labels) for batch in found] == [16] * 5 + [7]
    assert int(made.sum()) == 15
    assert labels[made].unique().tolist() == [0]
    assert labels[~made].bincount().tolist() == problem.retain.labels.bincount().tolist()
    assert 0 < int(made[:40].sum()) < 15  # mixed


def test_repairing_sees_retained_images_alone():
    """With no epoch that impairs, what the noise is like has no influence."""
    problem = class_problem()
    runs = [unsir(problem, UnsirParams(impair=0, noise_steps=steps, **SHORT), seeded()) for steps in (0, 5)]
    assert differing(*runs) == []
