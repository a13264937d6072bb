"""The training loop: schedule, SGD, groups, determinism, divergence (ALGORITHMS 2)."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from core.data.loader import Batch, batches
from core.errors import Diverged
from core.quant import quantizer_parameters
from core.train.loop import TrainParams, cosine_lr, cross_entropy, fit, parameter_groups
from tests.core.toy_problem import (
    FP,
    PLAIN,
    differing,
    parameters_of,
    seeded,
    state_of,
    toy_images,
    toy_model,
)

ONE_STEP = TrainParams(epochs=1, lr=0.1, batch_size=32, momentum=0.0, weight_decay=0.0)


def epochs_of(images, size, generator):
    return lambda _epoch: batches(images, size, PLAIN, generator)


def trained(model, seed=0, params=None, **hooks):
    params = params or TrainParams(epochs=2, lr=0.05, batch_size=16)
    generator = seeded(seed)
    return fit(model, epochs_of(toy_images(32), params.batch_size, generator), params, generator, **hooks)


def no_gradient(logits, _batch):
    return logits.sum() * 0


@pytest.mark.parametrize("epochs", [1, 5, 182])
def test_cosine_starts_at_lr_and_ends_above_zero(epochs):
    rates = [cosine_lr(0.1, e, epochs) for e in range(epochs)]
    assert rates[0] == 0.1
    assert rates[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * (epochs - 1) / epochs)) / 2)
    assert rates[-1] > 0
    assert rates == sorted(rates, reverse=True)


def test_cosine_is_torchs_own():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], 0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for epoch in range(10):
        assert cosine_lr(0.3, epoch, 10) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


def test_epoch_facts_are_asked_between_the_epochs_batches_and_its_first_step_and_told_with_it():
    model, calls, told = toy_model(), [], []

    def prepared(epoch):
        calls.append(("batches", epoch))
        return batches(toy_images(32), 32, PLAIN, seeded(epoch))

    def facts(epoch):
        calls.append(("facts", epoch))
        model.eval()
        return {"asked": float(epoch)}

    def step(epoch):
        calls.append(("step", epoch))
        assert model.training

    params = TrainParams(epochs=2, batch_size=32)
    hooks = {"on_gradient": step, "epoch_facts": facts, "on_epoch": lambda _epoch, f: told.append(f)}
    fit(model, prepared, params, seeded(), **hooks)
    assert calls == [(what, epoch) for epoch in (0, 1) for what in ("batches", "facts", "step")]
    assert [f["asked"] for f in told] == [0.0, 1.0]
    assert all(f.keys() == {"loss", "lr", "asked"} for f in told)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_on_epoch_reports_mean_loss_and_learning_rate(schedule):
    losses, told = [], []

    def loss(logits, batch):
        value = cross_entropy(logits, batch)
        losses.append(float(value.detach()))
        return value

    params = TrainParams(epochs=3, lr=0.05, batch_size=16, schedule=schedule)
    trained(toy_model(), params=params, loss=loss, on_epoch=lambda e, facts: told.append((e, facts)))
    assert [e for e, _ in told] == [0, 1, 2]
    means = [sum(losses[i : i + 2]) / 2 for i in (0, 2, 4)]
    assert [f["loss"] for _, f in told] == pytest.approx(means, rel=1e-5)
    rates = [cosine_lr(0.05, e, 3) if schedule == "cosine" else 0.05 for e in range(3)]
    assert [f["lr"] for _, f in told] == rates


def test_the_learning_rate_told_is_the_one_applied():
    """Plain SGD on a loss with gradient 1: every step moves the parameter by the epoch's rate."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    batch = Batch(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64), None)
    params = TrainParams(epochs=4, lr=0.5, momentum=0.0, weight_decay=0.0)
    fit(model, lambda _e: [batch, batch], params, seeded(), loss=lambda y, _b: y.sum())
    expected = -2 * sum(cosine_lr(0.5, e, 4) for e in range(4))
    assert model.weight.item() == pytest.approx(expected, rel=1e-5)


def test_updates_are_sgd_with_momentum_and_decay():
    """v ← μv + g + λθ; θ ← θ - lr·v, written out."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    batch = Batch(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64), None)
    params = TrainParams(epochs=1, lr=0.1, momentum=0.9, weight_decay=0.01)
    fit(model, lambda _e: [batch] * 3, params, seeded(), loss=lambda y, _b: (y**2).sum() / 2)
    theta, v = 2.0, 0.0
    for _ in range(3):
        v = 0.9 * v + theta + 0.01 * theta
        theta -= 0.1 * v
    assert model.weight.item() == pytest.approx(theta, rel=1e-5)


def test_training_trains_in_place_and_returns_the_model_in_eval_mode():
    model = toy_model()
    before = state_of(model)
    assert trained(model) is model
    assert not any(m.training for m in model.modules())
    assert differing(before, model)


def test_the_model_is_in_train_mode_while_it_trains():
    model, modes = toy_model(), []
    trained(model, on_gradient=lambda _e: modes.append(model.training))
    assert modes == [True] * 4


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv2"])  # the second has dropout
def test_the_same_generator_seed_gives_bit_identical_weights(arch):
    torch.manual_seed(1)
    first = trained(toy_model(arch))
    torch.manual_seed(2)
    second = trained(toy_model(arch))
    assert differing(first, second) == []
    assert differing(first, trained(toy_model(arch), seed=1))


def test_dropout_draws_from_the_generator_and_leaves_the_global_one_alone():
    def run(seed):
        torch.manual_seed(123)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 4))
        nn.init.zeros_(model[2].weight)
        nn.init.zeros_(model[2].bias)
        images, state = toy_images(32), torch.get_rng_state()
        fit(model, epochs_of(images, 32, seeded(7)), ONE_STEP, seeded(seed))
        assert torch.equal(torch.get_rng_state(), state)
        return model

    assert differing(run(0), run(0)) == []
    assert differing(run(0), run(1)) == ["2.weight"]


def test_weight_decay_spares_quantizers_by_default():
    model = toy_model()
    before, apart = parameters_of(model), quantizer_parameters(model)
    params = ONE_STEP.model_copy(update={"weight_decay": 0.5})
    trained(model, params=params, loss=no_gradient)
    for name, p in model.named_parameters():
        expected = before[name] if name in apart else before[name] * (1 - 0.1 * 0.5)
        torch.testing.assert_close(p.detach(), expected, rtol=1e-6, atol=0)


def test_weight_decay_reaches_quantizers_when_asked():
    model = toy_model()
    before = parameters_of(model)
    params = ONE_STEP.model_copy(update={"weight_decay": 0.5, "decay_quantizers": True})
    trained(model, params=params, loss=no_gradient)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] * (1 - 0.1 * 0.5), rtol=1e-6, atol=0)


@pytest.mark.parametrize("decay_quantizers", [False, True])
def test_the_two_groups_hold_every_parameter_once(decay_quantizers):
    model = toy_model()
    groups = parameter_groups(model, TrainParams(decay_quantizers=decay_quantizers, weight_decay=0.3))
    held = [id(p) for g in groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    assert [g["weight_decay"] for g in groups] == [0.3, 0.0]
    assert len(groups[1]["params"]) == (0 if decay_quantizers else 63)


def test_frozen_parameters_are_in_no_group_and_do_not_move():
    model = toy_model()
    model.stem.requires_grad_(False)
    before = parameters_of(model)
    trained(model, params=TrainParams(epochs=1, lr=0.1, weight_decay=0.5, batch_size=16))
    moved = {name for name, p in model.named_parameters() if not torch.equal(p.detach(), before[name])}
    assert not any(name.startswith("stem.") for name in moved)
    assert "classifier.weight" in moved


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_divergence(value):
    with pytest.raises(Diverged, match=r"epoch 1 of 2 at learning rate 0\.05"):
        trained(toy_model(), loss=lambda logits, _b: logits.sum() * 0 + value)


def test_one_bad_batch_in_a_later_epoch_is_divergence_and_is_not_reported():
    told, calls = [], []

    def loss(logits, batch):
        calls.append(1)
        return cross_entropy(logits, batch) * (math.nan if len(calls) == 3 else 1.0)

    with pytest.raises(Diverged, match="epoch 2 of 2"):
        trained(toy_model(), loss=loss, on_epoch=lambda e, _f: told.append(e))
    assert told == [0]


def test_cross_entropy_is_the_batch_mean():
    logits, labels = torch.randn(5, 3, generator=seeded()), torch.tensor([0, 1, 2, 0, 1])
    each = -logits.log_softmax(1)[range(5), labels]
    torch.testing.assert_close(cross_entropy(logits, Batch(logits, labels, None)), each.mean())


def test_weighted_cross_entropy_divides_by_the_count():
    """Eq. (13): (1/|S|) Σ w_i CE_i, not divided by the sum of the weights."""
    logits, labels = torch.randn(4, 3, generator=seeded()), torch.tensor([0, 1, 2, 0])
    weights = torch.tensor([0.25, 0.75, 0.75, 0.25])
    each = -logits.log_softmax(1)[range(4), labels]
    found = cross_entropy(logits, Batch(logits, labels, weights))
    torch.testing.assert_close(found, (weights * each).sum() / 4)


def test_on_gradient_may_edit_gradients_and_on_update_parameters():
    model = toy_model()
    before = parameters_of(model)
    epochs = []

    def erase(epoch):
        epochs.append(epoch)
        for p in model.parameters():
            p.grad.zero_()

    trained(model, params=ONE_STEP, on_gradient=erase)
    assert epochs == [0]
    assert all(torch.equal(p.detach(), before[n]) for n, p in model.named_parameters())

    def restore():
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(before[name])

    trained(model, on_update=restore)
    assert all(torch.equal(p.detach(), before[n]) for n, p in model.named_parameters())


def test_bfloat16_autocast_trains_with_float32_parameters_and_loss():
    seen = []

    def loss(logits, batch):
        seen.append(logits.dtype)
        return cross_entropy(logits, batch)

    model = trained(toy_model(), params=TrainParams(epochs=1, batch_size=16, precision="bfloat16"), loss=loss)
    assert set(seen) == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.isfinite().all() for p in model.parameters())


def test_auto_precision_is_float32_on_the_cpu():
    auto, full = (
        trained(toy_model(), params=TrainParams(epochs=1, batch_size=16, precision=p))
        for p in ("auto", "float32")
    )
    assert differing(auto, full) == []


def test_a_full_precision_model_trains_too():
    model = trained(toy_model(quant=FP))
    assert all(p.isfinite().all() for p in model.parameters())


def test_defaults_are_the_papers():
    p = TrainParams()
    assert (p.epochs, p.batch_size, p.momentum, p.weight_decay) == (10, 256, 0.9, 5e-4)
    assert (p.schedule, p.decay_quantizers) == ("cosine", False)


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"lr": 0.0},
        {"lr": -0.1},
        {"lr": math.nan},
        {"lr": math.inf},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
        {"batch_size": 0},
        {"step_trust": 0.0},
        {"learning_rate": 0.1},
    ],
    ids=str,
)
def test_impossible_hyper_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        TrainParams(**bad)
