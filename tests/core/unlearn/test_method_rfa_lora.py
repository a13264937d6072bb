"""RFA with low-rank updates (ALGORITHMS 7.5)."""

import copy
from dataclasses import replace

import pytest
import torch

from core.data.loader import Batch
from core.models import MODELS, build
from core.models.features import Features
from core.models.low_rank import LARGEST_SHARE, add_low_rank_, layer_rank, merged, weighted_layers
from core.quant import QuantSpec
from core.quant.export import weight_codes
from core.unlearn.feature_targets import (
    Targets,
    feature_targets,
    group_means,
    nearest_centroid,
    of_another_class,
)
from core.unlearn.rfa_lora import RFAParams, alignment_loss, rfa_lora
from tests.core.toy_problem import (
    AUGMENTING,
    CLASSES,
    FP,
    PLAIN,
    class_problem,
    differing,
    fresh_problem,
    loss_on,
    parameters_of,
    seeded,
    toy_images,
    toy_model,
    untrained_problem,
)

SHORT = {"epochs": 2, "batch_size": 24}
LABELS = ["fp", "4w4a", "2w", "4w4a-pact", "4w4a-dsq", "4w4a-perchannel", "4w8a-released"]


def updated(model, rank=4, seed=3):
    """A copy with low-rank updates that are not zero any more."""
    model = copy.deepcopy(model)
    add_low_rank_(model, rank, 8.0, seeded(seed))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("b_OR"):
                p.copy_(torch.randn(p.shape, generator=seeded(seed)) * 0.02)
    return model


def logits(model):
    with torch.no_grad():
        return model.eval()(PLAIN.normalise(toy_images(16).pixels))


# --- low-rank updates


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("arch", MODELS)
def test_at_the_start_the_logits_are_the_originals(arch, label):
    model = toy_model(arch, QuantSpec.parse(label))
    other = copy.deepcopy(model)
    add_low_rank_(other, 4, 8.0, seeded())
    assert torch.equal(logits(other), logits(model))


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("arch", MODELS)
def test_merged_is_what_was_trained(arch, label):
    model = toy_model(arch, QuantSpec.parse(label))
    trained = updated(model)
    found = merged(trained, copy.deepcopy(model))
    torch.testing.assert_close(logits(found), logits(trained), rtol=1e-5, atol=1e-5)
    assert not torch.equal(logits(found), logits(model))
    assert list(found.state_dict()) == list(model.state_dict())
    assert [type(m) for m in found.modules()] == [type(m) for m in model.modules()]
    assert all(p.requires_grad for p in found.parameters())


def test_the_update_comes_before_the_quantizer():
    """Q(W + BA): the trained weight has the original's grid of values."""
    model = toy_model(quant=QuantSpec.parse("4w4a"))
    trained = updated(model)
    for name, codes in weight_codes(trained).items():
        layer, quantizer = model.get_submodule(name), trained.get_submodule(name).weight_quantizer
        assert codes.abs().max() <= quantizer.qmax + 1
        seen = quantizer(trained.get_submodule(name).weight)
        torch.testing.assert_close(seen, quantizer.decode(codes), rtol=1e-5, atol=1e-6)
        assert torch.equal(quantizer.step, layer.weight_quantizer.step)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_change_of_every_weight_has_at_most_that_rank(rank):
    model = build("resnet18", CLASSES, generator=seeded(), width=0.25, quant=FP)
    found = merged(updated(model, rank), copy.deepcopy(model))
    for name, layer in weighted_layers(model).items():
        change = (found.get_submodule(name).weight - layer.weight).detach().flatten(1).double()
        values = torch.linalg.svdvals(change)
        assert int((values > 1e-5).sum()) <= rank
        assert bool(change.any()) is (name != "classifier")


@pytest.mark.parametrize("arch", MODELS)
@pytest.mark.parametrize("width", [0.125, 0.25, 0.5, 1.0])
def test_less_than_a_tenth_of_the_parameters_trains(arch, width):
    model = build(arch, 10, generator=seeded(), width=width)
    own = sum(p.numel() for p in model.parameters())
    share = add_low_rank_(model, RFAParams().rank, 8.0, seeded())
    trained = [p for p in model.parameters() if p.requires_grad]
    assert share == sum(p.numel() for p in trained) / own
    assert share < 0.1


def test_a_small_layers_rank_is_what_a_tenth_of_it_allows():
    assert layer_rank(torch.empty(512, 512, 3, 3), 4) == 4
    narrow = torch.empty(16, 16, 3, 3)
    assert layer_rank(narrow, 4) == int(LARGEST_SHARE * 2304 / (16 + 144)) == 1
    assert layer_rank(torch.empty(8, 1, 3, 3), 4) == 1


# --- training


@pytest.mark.parametrize("label", ["fp", "4w4a"])
def test_only_low_rank_updates_have_gradients_and_change(label, monkeypatch):
    trained, seen = [], []

    def watched(model, *arguments, **options):
        given = options.pop("epoch_facts")

        def facts(epoch):
            seen.append({n: p.requires_grad for n, p in model.named_parameters()})
            return given(epoch)

        before = {n: t.clone() for n, t in model.state_dict().items()}
        result = core_fit(model, *arguments, epoch_facts=facts, **options)
        grads = {n for n, p in model.named_parameters() if p.grad is not None}
        trained.append((grads, differing(before, model.state_dict())))
        return result

    from core.unlearn import rfa_lora as module

    core_fit = module.fit
    monkeypatch.setattr(module, "fit", watched)
    problem = untrained_problem(QuantSpec.parse(label))
    rfa_lora(problem, RFAParams(**SHORT), seeded())
    grads, changed = trained[0]
    assert grads
    assert {name.rpartition(".")[2] for name in grads} == {"a_RI", "b_OR"}
    assert set(changed) == grads
    assert {name for name, wanted in seen[0].items() if wanted} == grads


def test_statistics_biases_and_quantizers_stay(problem):
    found = rfa_lora(problem, RFAParams(lr=0.03, **SHORT), seeded())
    layers = weighted_layers(problem.model)
    assert set(differing(found, problem.model)) == {f"{name}.weight" for name in layers} - {
        "classifier.weight"
    }


@pytest.mark.parametrize("make", [fresh_problem, class_problem])
def test_at_the_start_nothing_is_to_be_done_on_retained_images(make):
    """L_r = 0: without a forget loss the first epoch's loss is 0, and the network stays where it is, exactly."""
    problem, told = make(), []
    params = RFAParams(forget_weight=0, lr=0.05, **SHORT)
    found = rfa_lora(problem, params, seeded(), lambda _e, facts: told.append(facts["loss"]))
    assert told == [0, 0]
    assert differing(found, problem.model) == []


def test_the_first_loss_is_the_forget_loss_alone():
    problem = replace(class_problem(), augment=PLAIN)
    losses = []
    for weights in ({}, {"retain_weight": 0.0}):
        told = []
        params = RFAParams(epochs=1, batch_size=96, **weights)
        rfa_lora(problem, params, seeded(), lambda _e, facts, told=told: told.append(facts["loss"]))
        losses.append(told[0])
    features = Features(problem.model, 1)
    with torch.no_grad():
        kept, gone = (features(PLAIN.normalise(part.pixels)) for part in (problem.retain, problem.forget))
    expected = (gone - kept.mean(0)).square().sum(1).mean() / kept.square().sum(1).mean()
    assert losses == pytest.approx([float(expected)] * 2, rel=1e-4)


SLOWER = [pytest.param(target, marks=pytest.mark.slow) for target in ("pair", "centroid")]


@pytest.mark.parametrize("target", ["mean", *SLOWER])
def test_a_class_is_forgotten_and_the_others_kept(target):
    problem = class_problem()
    params = RFAParams(target=target, epochs=10, lr=0.01, batch_size=12)
    found = rfa_lora(problem, params, seeded())
    gone, kept = (loss_on(found, part) for part in (problem.forget, problem.retain))
    assert gone > 1.5
    assert kept < (gone - 0.5 if target == "pair" else 0.7)


def test_the_share_that_trains_is_told_with_the_first_epoch(problem):
    told = []
    rfa_lora(problem, RFAParams(**SHORT), seeded(), lambda _e, facts: told.append(facts))
    assert 0 < told[0]["trainable"] < 0.2  # of a network with eight channels
    assert "trainable" not in told[1]


def test_features_are_the_last_layers_inputs_in_eval_mode_always(problem):
    features = Features(copy.deepcopy(problem.model), 3).train()
    assert not any(m.training for m in features.modules())
    x = PLAIN.normalise(problem.forget.pixels)
    found = features(x)
    assert found.shape == (24, 24)  # three layers of eight channels
    last = found[:, -8:]
    torch.testing.assert_close(problem.model.classifier(last), problem.model(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(features(x), found)


# --- targets


def by_pixel(images):
    """Features that are the mean of the pixels and 1."""
    mean = images.pixels.float().mean((1, 2, 3))
    return torch.stack([mean, torch.ones_like(mean)], 1)


def test_the_mean_is_one_row_for_all():
    problem = fresh_problem()
    rows, row_of, scale = feature_targets("mean", by_pixel, problem.forget, problem.retain, 0)
    kept = by_pixel(problem.retain)
    torch.testing.assert_close(rows, kept.mean(0, keepdim=True))
    assert row_of.tolist() == [0] * 24
    torch.testing.assert_close(scale, kept.square().sum(1).mean())


@pytest.mark.parametrize("make", [fresh_problem, class_problem])
def test_a_pair_is_a_retained_image_of_another_class(make):
    problem = make()
    rows, row_of, _ = feature_targets("pair", by_pixel, problem.forget, problem.retain, 0)
    assert torch.equal(rows, by_pixel(problem.retain))
    assert not bool((problem.retain.labels[row_of] == problem.forget.labels).any())


def test_pairs_are_drawn_evenly_over_all_images_of_other_classes():
    kept = torch.tensor([2, 0, 1, 0, 2, 2, 1])
    found = of_another_class(torch.full((6000,), 2), kept, seeded())
    counts = found.bincount(minlength=7)
    assert counts[kept == 2].sum() == 0
    assert float((counts[kept != 2] / 1500 - 1).abs().max()) < 0.15
    assert of_another_class(torch.tensor([5]), kept, seeded()).shape == (1,)


def test_a_centroid_is_the_own_classs_or_the_nearest_ones():
    problem = fresh_problem()
    rows, row_of, _ = feature_targets("centroid", by_pixel, problem.forget, problem.retain, 0)
    for label in range(CLASSES):
        own = by_pixel(problem.retain)[problem.retain.labels == label].mean(0)
        torch.testing.assert_close(rows[row_of[problem.forget.labels == label]], own.expand(6, 2))
    centres, labels = torch.tensor([[0.0], [10.0], [20.0]]), torch.tensor([0, 1, 3])
    seen = torch.tensor([[13.0], [18.0], [11.0], [0.0]])
    assert nearest_centroid(seen, torch.tensor([2, 2, 2, 3]), centres, labels).tolist() == [1, 1, 1, 2]


def test_groups_have_their_means():
    found = group_means(torch.tensor([[1.0], [2.0], [6.0]]), torch.tensor([1, 0, 1]), 2)
    assert found.tolist() == [[2.0], [3.5]]


def test_the_loss_is_by_hand():
    h, pre = torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    targets = Targets(torch.tensor([[9.0, 9.0], [1.0, 1.0]]), torch.tensor([1]), torch.tensor(2.0))
    batch = Batch(torch.empty(2), torch.tensor([-1, 1]), torch.tensor([0.5, 4.0]))
    assert float(alignment_loss(h, pre, targets, batch)) == pytest.approx((0.5 * 1 + 4 * 4) / 2 / 2)


@pytest.mark.parametrize("aligned", [1, 3])
def test_another_seed_trains_other_updates_from_the_same_start(problem, aligned):
    problem = replace(problem, augment=AUGMENTING)
    one, two = (
        parameters_of(rfa_lora(problem, RFAParams(aligned=aligned, **SHORT), seeded(s))) for s in (0, 1)
    )
    assert differing(one, two)
