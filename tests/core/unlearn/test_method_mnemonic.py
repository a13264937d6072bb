"""Mnemonic code (ALGORITHMS 7.1): training with codes, Fisher ratios, layer-wise steps, the choice of sign."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from core.data.loader import batches, concat
from core.errors import BadInput
from core.metrics.predictions import predict
from core.quant import quantizer_parameters
from core.unlearn import METHODS, mnemonic as module
from core.unlearn.mnemonic import CODES, Codes, MnemonicParams, fisher_ratios, forget_with_codes_, layer_step
from tests.core.toy_problem import (
    CLASSES,
    PLAIN,
    class_problem,
    differing,
    fresh_problem,
    parameters_of,
    seeded,
    suited,
    toy_images,
    training_of,
    two_class_problem,
)

MNEMONIC, FINETUNE = METHODS["mnemonic"], METHODS["mnemonic_ft"]


def codes_of(t_mix=0.3, code="normal", seed=5):
    problem = class_problem()
    return Codes(training_of(problem, problem.model, seed=seed), {"t_mix": t_mix, "code": code})


def test_no_code_is_mixed_in_at_zero_and_only_codes_at_one():
    training = codes_of().training
    plain = list(batches(training.images, 24, training.augment, seeded(3)))
    none = list(codes_of(0.0).batches(0, seeded(3)))
    every = codes_of(1.0)
    for batch, unmixed, coded in zip(plain, none, every.batches(0, seeded(3)), strict=True):
        assert torch.equal(batch.images, unmixed.images)
        assert torch.equal(batch.labels, unmixed.labels)
        assert torch.equal(coded.images, every.codes_KCHW[batch.labels])


def test_codes_take_the_place_of_the_asked_share_of_images_and_labels_stay():
    codes = codes_of(0.3)
    taken = total = 0
    for epoch in range(20):
        for batch in codes.batches(epoch, seeded(epoch)):
            coded = (batch.images == codes.codes_KCHW[batch.labels]).flatten(1).all(1)
            taken, total = taken + int(coded.sum()), total + len(coded)
    assert taken / total == pytest.approx(0.3, abs=3 * math.sqrt(0.21 / total))


def test_another_epoch_replaces_other_images():
    codes = codes_of(0.5)
    first, second = (
        torch.cat(
            [(b.images == codes.codes_KCHW[b.labels]).flatten(1).all(1) for b in codes.batches(e, seeded(3))]
        )
        for e in (0, 1)
    )
    assert not torch.equal(first, second)


def test_a_code_is_one_fixed_random_image_per_class():
    normal, uniform = codes_of(code="normal").codes_KCHW, codes_of(code="uniform").codes_KCHW
    assert normal.shape == (CLASSES, 3, 8, 8)
    assert float(normal.mean()) == pytest.approx(0, abs=0.15)
    assert float(normal.std()) == pytest.approx(1, abs=0.1)
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) <= 1
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.05)
    assert torch.equal(codes_of().codes_KCHW, normal)
    assert not torch.equal(codes_of(seed=6).codes_KCHW, normal)


def test_equal_fishers_move_every_weight_by_the_same_step():
    fisher = {"w": torch.rand(7, generator=seeded()) + 0.1}
    eta = fisher_ratios(fisher, fisher)["w"]
    assert torch.equal(eta, torch.ones(7))
    for lambda1, lambda2 in ((1e-3, 10.0), (5.0, 0.2)):
        assert torch.allclose(
            layer_step(eta, lambda1, lambda2) * eta, torch.full((7,), min(lambda1, lambda2))
        )


def test_ratios_where_a_side_vanishes_are_those_of_the_floor():
    eta = fisher_ratios({"w": torch.tensor([0.0, 0.0, 1.0])}, {"w": torch.tensor([0.0, 1.0, 0.0])})["w"]
    assert eta.tolist() == pytest.approx([1.0, 1e-16, 1e16], rel=1e-6)


def test_fishers_are_means_of_squared_gradients_on_the_codes():
    """(6), written out by hand for two classes."""
    problem, codes = class_problem(), codes_of().codes_KCHW
    moved = dict(problem.model.named_parameters())
    found = module.code_fisher(problem.model, moved, codes, [1, 3])
    expected = [torch.zeros_like(p) for p in moved.values()]
    for label in (1, 3):
        loss = F.cross_entropy(problem.model(codes[label : label + 1]), torch.tensor([label]))
        for total, grad in zip(expected, torch.autograd.grad(loss, list(moved.values())), strict=True):
            total += grad.square() / 2
    for (name, mean), by_hand in zip(found.items(), expected, strict=True):
        assert torch.allclose(mean, by_hand), name


@pytest.mark.parametrize("lambdas", [(1e-3, 10.0), (1.0, 0.01), (10.0, 1e-4)], ids=str)
def test_no_parameter_moves_by_more_than_lambda2(lambdas):
    problem = class_problem()
    model = copy.deepcopy(problem.model)
    params = MnemonicParams(lambda1=lambdas[0], lambda2=lambdas[1])
    forget_with_codes_(model, codes_of().codes_KCHW, [0], params)
    before, spared = parameters_of(problem.model), quantizer_parameters(model)
    moved = {name: p - before[name] for name, p in parameters_of(model).items()}
    assert all(float(change.abs().max()) <= lambdas[1] * 1.001 for change in moved.values())
    assert all(not moved[name].any() for name in spared)
    signs = {float(s) for change in moved.values() for s in change.sign().unique()} - {0.0}
    assert len(signs) == 1  # one sign for the whole network


def test_without_a_step_nothing_moves():
    problem = suited(class_problem(), MNEMONIC)
    found = MNEMONIC.run(problem, MnemonicParams(lambda1=0.0), seeded(), None)
    assert differing(found, problem.model) == []


@pytest.mark.parametrize(
    ("up", "down", "sign"),
    [((100, 0), (0, 50), 1), ((0, 0), (60, 60), -1), ((50, 50), (50, 50), -1)],
    ids=str,
)
def test_the_sign_with_the_larger_sum_is_taken_and_down_if_equal(monkeypatch, up, down, sign):
    answers = iter([up, down])
    monkeypatch.setattr(module, "code_scores", lambda *_: next(answers))
    problem = class_problem()
    model = copy.deepcopy(problem.model)
    facts = forget_with_codes_(model, codes_of().codes_KCHW, [0], MnemonicParams(lambda1=1e-3, lambda2=1e-3))
    assert facts["sign"] == sign
    assert (facts["code_ar"], facts["code_ef"]) == (up if sign == 1 else down)
    name = "classifier.weight"
    change = parameters_of(model)[name] - parameters_of(problem.model)[name]
    assert set(change.sign().unique().tolist()) <= {0.0, float(sign)}
    assert change.any()


def test_scores_are_read_off_the_codes():
    problem, codes = class_problem(), codes_of().codes_KCHW
    right = problem.model(codes).argmax(1) == torch.arange(CLASSES)
    gone = torch.tensor([True, False, False, True])
    ar, ef = module.code_scores(problem.model, codes, gone)
    assert ar == pytest.approx(50 * int(right[1:3].sum()))
    assert ef == pytest.approx(100 - 50 * int(right[0]) - 50 * int(right[3]))


def test_images_that_are_no_whole_class_are_one_clear_line():
    problem = fresh_problem()
    with pytest.raises(BadInput, match=r"Mnemonic forgets whole classes"):
        MNEMONIC.run(problem, MnemonicParams(), seeded(), None)


def test_all_classes_at_once_are_one_clear_line():
    problem = class_problem()
    with pytest.raises(BadInput, match="all classes"):
        forget_with_codes_(problem.model, codes_of().codes_KCHW, range(CLASSES), MnemonicParams())


def test_one_step_reads_no_image():
    problem = suited(two_class_problem(), MNEMONIC)
    found = MNEMONIC.run(problem, MnemonicParams(), seeded(), None)
    for part in (problem.forget, problem.retain):
        part.pixels.zero_()
    assert differing(MNEMONIC.run(problem, MnemonicParams(), seeded(1), None), found) == []


def test_a_network_that_learned_its_codes_forgets_the_class_and_keeps_the_others():
    """The whole way on toy pictures, which have no left and right: fine-tuning with codes, then the one step."""
    problem = replace(class_problem(2), augment=PLAIN)
    params = FINETUNE.params(epochs=20, lr=0.05, batch_size=24, lambda1=1e-3, lambda2=0.5)
    found = FINETUNE.run(problem, params, seeded(), None)
    fresh = toy_images(200, seed=9)
    kept = fresh.select((fresh.labels != 2).nonzero()[:, 0])
    gone = fresh.select((fresh.labels == 2).nonzero()[:, 0])
    assert predict(problem.model, gone, PLAIN).accuracy > 90
    assert predict(found, gone, PLAIN).accuracy < 5
    assert predict(found, kept, PLAIN).accuracy > 95


def test_fine_tuning_trains_on_both_sets_mixed_with_codes():
    problem = class_problem()
    params = FINETUNE.params(epochs=1, batch_size=24, lambda1=0.0)
    found = FINETUNE.run(problem, params, seeded(4), None)
    generator = seeded(4)
    seed = int(torch.randint(2**62, (), generator=generator))
    training = training_of(problem, copy.deepcopy(problem.model), seed=seed)
    assert torch.equal(training.images.labels, concat(problem.forget, problem.retain).labels)
    assert differing(parameters_of(found), parameters_of(problem.model))
    assert CODES not in problem.kept
