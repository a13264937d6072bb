"""SalUn (ALGORITHMS 4.6)."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F

from core.quant import QuantSpec, quantizer_parameters
from core.unlearn.random_labels import RLParams, rl
from core.unlearn.salun import SalUnParams, forget_gradient, movable, saliency_mask, salun
from tests.core.toy_problem import PLAIN, differing, parameters_of, seeded, state_of, toy_model

SHORT = {"epochs": 2, "batch_size": 24, "lr": 0.02}


def toy_gradients():
    g = seeded()
    return {
        "a": torch.randn(7, 5, generator=g),
        "b": torch.randn((), generator=g),
        "c": torch.randn(3, generator=g),
    }


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(1, 400), st.booleans())
def test_exactly_int_fraction_times_total_entries_may_move(fraction, size, tied):
    values = torch.zeros(size) if tied else torch.randn(size, generator=seeded(size))
    mask = saliency_mask({"a": values[: size // 2], "b": values[size // 2 :]}, fraction)
    assert sum(int(m.sum()) for m in mask.values()) == int(fraction * size)


def test_the_mask_is_the_global_top_by_absolute_value():
    gradients = {"a": torch.tensor([[1.0, -9.0], [0.5, 3.0]]), "b": torch.tensor([-4.0, 2.0])}
    mask = saliency_mask(gradients, 0.5)
    assert mask["a"].tolist() == [[False, True], [False, True]]
    assert mask["b"].tolist() == [True, False]
    assert mask["a"].dtype == torch.bool


@pytest.mark.parametrize("fraction", [1 / 39, 0.1, 0.5, 1.0])
def test_the_largest_gradient_is_always_in_the_mask(fraction):
    gradients = toy_gradients()
    name, index = max(
        ((n, i) for n, g in gradients.items() for i in range(g.numel())),
        key=lambda at: float(gradients[at[0]].flatten()[at[1]].abs()),
    )
    assert saliency_mask(gradients, fraction)[name].flatten()[index]


def test_larger_fractions_contain_smaller_ones():
    masks = [saliency_mask(toy_gradients(), f) for f in (0.2, 0.5, 0.8)]
    for small, large in ((0, 1), (1, 2)):
        assert all(bool((masks[large][n] | ~masks[small][n]).all()) for n in masks[0])


def test_the_sign_of_the_gradient_is_irrelevant():
    gradients = toy_gradients()
    flipped = {n: -g for n, g in gradients.items()}
    assert differing(saliency_mask(gradients, 0.4), saliency_mask(flipped, 0.4)) == []


def test_saliency_sums_signed_batch_gradients(problem):
    """|Σ grad|, not Σ|grad|: batches may cancel."""
    found = forget_gradient(problem, SalUnParams(batch_size=10), seeded())
    model = problem.model.eval()
    total = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    for start in (0, 10, 20):
        x, y = (
            PLAIN.normalise(problem.forget.pixels[start : start + 10]),
            problem.forget.labels[start : start + 10],
        )
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for name, p in model.named_parameters():
            total[name] += p.grad
    for name, expected in total.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-7)


def test_measuring_saliency_is_pure(problem):
    before = state_of(problem.model)
    forget_gradient(problem, SalUnParams(mask_augmented=True), seeded())
    assert differing(before, problem.model) == []
    assert all(p.grad is None for p in problem.model.parameters())


@pytest.mark.parametrize("masked", ["frozen", "decaying"])
@pytest.mark.parametrize("augmented", [False, True])
def test_fraction_one_is_random_labels_bit_for_bit(problem, masked, augmented):
    params = SalUnParams(fraction=1, masked_weights=masked, mask_augmented=augmented, **SHORT)
    assert differing(salun(problem, params, seeded()), rl(problem, RLParams(**SHORT), seeded())) == []


def test_fraction_one_with_free_quantizers_is_random_labels_too(problem):
    params = SalUnParams(fraction=1, mask_quantizers="free", **SHORT)
    assert differing(salun(problem, params, seeded()), rl(problem, RLParams(**SHORT), seeded())) == []


def test_fraction_zero_frozen_changes_no_parameter(problem):
    found = salun(problem, SalUnParams(fraction=0, **SHORT), seeded())
    assert differing(parameters_of(found), parameters_of(problem.model)) == []


def test_fraction_zero_with_free_quantizers_moves_quantizers_alone(problem):
    found = salun(problem, SalUnParams(fraction=0, mask_quantizers="free", **SHORT), seeded())
    moved = set(differing(parameters_of(found), parameters_of(problem.model)))
    assert moved
    assert moved <= quantizer_parameters(problem.model)


def test_running_statistics_are_never_masked(problem):
    found = salun(problem, SalUnParams(fraction=0, **SHORT), seeded())
    moved = differing(found, problem.model)
    assert moved
    assert all("running" in name or "tracked" in name for name in moved)


def test_free_quantizers_take_no_part_in_the_ranking(problem):
    """The mask over everything else is that of a network without them: exactly int(fraction · rest) entries."""
    params = SalUnParams(fraction=0.3, mask_quantizers="free")
    mask = movable(problem, params, seeded())
    apart = quantizer_parameters(problem.model)
    assert all(bool(mask[name].all()) for name in apart)
    rest = {n: g for n, g in forget_gradient(problem, params, seeded()).items() if n not in apart}
    assert differing({n: mask[n] for n in rest}, saliency_mask(rest, 0.3)) == []
    assert mask.keys() == dict(problem.model.named_parameters()).keys()


@pytest.mark.parametrize("quantizers", ["ranked", "free"])
def test_the_first_epoch_tells_the_share_of_quantizer_parameters_that_may_not_move(problem, quantizers):
    told = []
    params = SalUnParams(fraction=0.6, mask_quantizers=quantizers, **SHORT)
    found = salun(problem, params, seeded(), lambda _epoch, facts: told.append(facts))
    start, end = parameters_of(problem.model), parameters_of(found)
    apart = quantizer_parameters(problem.model)
    held = sum(int((start[name] == end[name]).sum()) for name in apart)
    share = told[0]["masked_quantizers"]
    assert "masked_quantizers" not in told[1]
    assert (0 < share < 0.9) if quantizers == "ranked" else (share == 0)
    assert share == pytest.approx(held / sum(start[name].numel() for name in apart))


def test_a_full_precision_network_has_no_quantizers_to_tell_of(problem):
    told = []
    full = replace(problem, model=toy_model(quant=QuantSpec()))
    salun(full, SalUnParams(**SHORT | {"epochs": 1}), seeded(), lambda _epoch, facts: told.append(facts))
    assert told[0].keys() == {"loss", "lr"}


def test_a_parameter_without_gradient_counts_as_zero_and_ranks_last(problem):
    """The published code crashes on one (pitfall c)."""
    problem.model.register_parameter("unused", torch.nn.Parameter(torch.ones(5)))
    gradients = forget_gradient(problem, SalUnParams(), seeded())
    assert gradients["unused"].tolist() == [0.0] * 5
    assert not saliency_mask(gradients, 0.5)["unused"].any()
    found = salun(problem, SalUnParams(fraction=0.5, weight_decay=0.1, **SHORT), seeded())
    assert found.get_parameter("unused").tolist() == [1.0] * 5


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_frozen_holds_every_masked_entry_and_moves_others(problem, fraction):
    params = SalUnParams(fraction=fraction, **SHORT)
    mask = saliency_mask(forget_gradient(problem, params, seeded()), fraction)
    start, found = parameters_of(problem.model), parameters_of(salun(problem, params, seeded()))
    assert all(torch.equal(found[n][~mask[n]], start[n][~mask[n]]) for n in start)
    moved = sum(int((found[n][mask[n]] != start[n][mask[n]]).sum()) for n in start)
    assert moved > 0.5 * sum(int(m.sum()) for m in mask.values())


@pytest.mark.parametrize("decay_quantizers", [False, True])
def test_decaying_shrinks_masked_entries_by_one_minus_lr_times_decay(problem, decay_quantizers):
    """One step from zero momentum: θ' = θ(1 - lr·wd); quantizers only if they decay at all."""
    params = SalUnParams(
        fraction=0.3,
        masked_weights="decaying",
        epochs=1,
        batch_size=96,
        lr=0.1,
        weight_decay=0.2,
        decay_quantizers=decay_quantizers,
    )
    mask = saliency_mask(forget_gradient(problem, params, seeded()), 0.3)
    apart = set() if decay_quantizers else quantizer_parameters(problem.model)
    start = parameters_of(problem.model)
    for name, p in salun(problem, params, seeded()).named_parameters():
        shrink = 1.0 if name in apart else 1 - 0.1 * 0.2
        held = ~mask[name]
        torch.testing.assert_close(p.detach()[held], start[name][held] * shrink, rtol=1e-6, atol=1e-9)


def test_the_mask_depends_on_the_forget_set_alone(problem):
    params = SalUnParams(batch_size=24)
    first = forget_gradient(problem, params, seeded())
    second = forget_gradient(problem, params, seeded(5))
    assert differing(first, second) == []
    assert first.keys() == dict(problem.model.named_parameters()).keys()  # BN, biases, quantizers too
