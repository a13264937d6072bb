"""FT (ALGORITHMS 4.1)."""

import torch

from core.data.loader import batches
from core.train.loop import fit
from core.unlearn import UnlearnParams
from core.unlearn.finetune import finetune
from tests.core.toy_problem import loss_on, parameters_of, seeded


def test_is_plain_training_on_the_retain_set(problem):
    params = UnlearnParams(epochs=2, batch_size=24)
    found = finetune(problem, params, seeded())
    generator = seeded()
    fit(
        problem.model,
        lambda _e: batches(problem.retain, 24, problem.augment, generator),
        params,
        generator,
    )
    assert all(
        torch.equal(a, b)
        for a, b in zip(found.state_dict().values(), problem.model.state_dict().values(), strict=True)
    )


def test_a_vanishing_learning_rate_changes_no_parameter(problem):
    """A rate of 0 is refused; at 1e-30 no float moves, save for those that are exactly zero."""
    start = parameters_of(problem.model)
    found = finetune(problem, UnlearnParams(epochs=2, lr=1e-30, batch_size=24), seeded())
    for name, p in found.named_parameters():
        torch.testing.assert_close(p.detach(), start[name], rtol=0, atol=1e-25)


def test_it_keeps_the_retain_loss_low(problem):
    found = finetune(problem, UnlearnParams(epochs=2, batch_size=24), seeded())
    assert loss_on(found, problem.retain) < 0.2
