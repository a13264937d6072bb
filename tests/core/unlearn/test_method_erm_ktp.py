"""ERM-KTP: the mask's loss and limits in closed form, how it is learned, and what is handed over."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from core.errors import BadInput
from core.unlearn import METHODS
from core.unlearn.class_masks import MASK, Masking, cut_mask
from core.unlearn.erm_ktp import (
    ERMParams,
    Seen,
    beginner,
    clip_mask,
    close_,
    mask_regulariser,
    transfer_loss,
    usable_channels,
)
from tests.core.toy_problem import PLAIN, class_problem, seeded, suited, toy_images, toy_model, training_of

ERM = METHODS["erm_ktp"]


@cache
def masked_problem():
    return suited(class_problem(), ERM)


def test_the_masks_loss_and_its_gradient():
    mask = torch.tensor([[0.9, 0.2], [0.0, 0.7], [0.4, 0.5]], requires_grad=True)
    found = mask_regulariser(mask)
    overlap = 0.9 * 0.2 + 0.4 * 0.5
    assert float(found.detach()) == pytest.approx(2.7 - 0.6 + 0.1 * overlap, rel=1e-5)
    (grad,) = torch.autograd.grad(found, mask)
    others = mask.detach().sum(1, keepdim=True) - mask.detach()
    assert torch.allclose(grad, mask.detach().sign() + 0.1 * others)
    sparse = torch.zeros(10, 2)
    sparse[0, 0] = 1.0
    assert float(mask_regulariser(sparse)) == 0  # as sparse as it has to be


def test_rows_are_scaled_to_their_largest_entry_and_clamped():
    mask = torch.tensor([[0.5, 0.25], [2.0, -1.0], [-0.3, -0.1], [0.0, 0.0]])
    assert clip_mask(mask).tolist() == [[1, 0.5], [1, 0], [0, 0], [0, 0]]


def test_channels_without_any_forgotten_class_are_usable():
    mask = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 1.0]])
    assert usable_channels(mask, [0]).tolist() == [False, True, True]
    assert usable_channels(mask, [0, 2]).tolist() == [False, True, False]
    assert usable_channels(mask, []).all()


def test_a_class_keeps_its_largest_channels():
    mask = torch.tensor([[0.9, 0.1], [0.5, 0.2], [0.1, 0.3], [0.3, 0.0]])
    assert torch.equal(cut_mask(mask, 0.5) > 0, torch.tensor([[1, 0], [1, 1], [0, 1], [0, 0]]).bool())
    assert torch.equal(cut_mask(mask, 1.0), mask)


def masking(**options):
    problem = class_problem()
    model = copy.deepcopy(problem.model)
    setting = ERM.hook.setting(ERMParams(**options))
    part = Masking(training_of(problem, model), setting)
    part.on_optimizer(torch.optim.SGD(model.parameters(), 0.1))
    return part, model


def test_every_third_epoch_features_are_multiplied_by_the_mask_of_their_class():
    part, model = masking()
    seen = []
    with torch.no_grad():
        part.mask_CK[:, 1] = 0.25
    model.classifier.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    for epoch in range(3):
        batch = next(part.batches(epoch, seeded()))
        model.train()
        model(batch.images)
        model.eval()
        model(batch.images)  # never while it is looked at
        labels = batch.labels
    features = [x.detach() for x in seen]
    ratio = features[4] / features[2].where(features[2] > 0, 1.0)
    for label, factor in ((0, 0.5), (1, 0.25)):
        rows = features[4][labels == label]
        expected = factor * features[2][labels == label]
        assert torch.allclose(rows, expected, rtol=0.2, atol=0.05), ratio  # statistics moved a little between


def test_a_step_of_the_mask_follows_the_batch_and_its_own_loss():
    part, _ = masking(regularisation=0.5)
    part.labels_B = torch.tensor([0])
    part.mask_CK.grad = torch.zeros_like(part.mask_CK)
    part.mask_CK.grad[0, 0] = 2.0
    before = part.mask_CK.detach().clone()
    (own,) = torch.autograd.grad(mask_regulariser(part.mask_CK), part.mask_CK)
    part.on_update()
    gradient = 0.5 * own + 5e-4 * before
    gradient[0, 0] += 2.0
    assert torch.allclose(part.mask_CK.detach(), clip_mask(before - 0.1 * gradient))
    assert part.mask_CK.grad is None
    part.labels_B = None
    after = part.mask_CK.detach().clone()
    part.on_update()
    assert torch.equal(part.mask_CK.detach(), after)  # epochs without the mask leave it


@pytest.mark.parametrize(("shut", "logit"), [(False, 0.0), (True, -1e4)])
def test_the_classifier_keeps_neither_prohibited_channels_nor_forgotten_classes(shut, logit):
    head = nn.Linear(5, 4)
    before = head.weight.detach().clone()
    usable = torch.tensor([True, True, False, True, False])
    close_(head, [2], usable, shut=shut)
    assert not head.weight[:, ~usable].any()
    assert not head.weight[2].any()
    assert torch.equal(head.weight[:2][:, usable], before[:2][:, usable])
    assert head(torch.randn(3, 5, generator=seeded()))[:, 2].tolist() == [logit] * 3
    assert not any(p.requires_grad for p in head.parameters())


def test_the_teachers_prohibited_channels_are_zeros_to_the_student():
    usable = torch.tensor([True, False])
    features, found = torch.ones(3, 2), torch.full((3, 2, 4, 4), 2.0)
    zero = [torch.zeros_like(features), torch.zeros_like(found)]
    assert float(transfer_loss(zero, [features, found], usable)) == pytest.approx(0.5 * 1 + 0.5 * 4)
    perfect = [features * usable, found * usable.view(1, -1, 1, 1)]
    assert float(transfer_loss(perfect, [features, found], usable)) == 0


def test_the_map_is_found_where_features_are_its_mean():
    model, x = toy_model(), PLAIN.normalise(toy_images(4, size=32).pixels)
    seen = Seen(model)
    assert seen.pools(x)
    features, found = seen.parts(with_map=True)
    assert torch.allclose(found.mean((2, 3)), features, atol=1e-5)
    seen.remove()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not Seen(toy_model("lenet")).pools(x)


def test_the_backbone_begins_anew_under_the_originals_classifier():
    problem = masked_problem()
    usable = torch.ones(problem.model.classifier.in_features, dtype=torch.bool)
    fresh = beginner(problem, ERMParams(), [], usable, seeded())
    assert torch.equal(fresh.classifier.weight, problem.model.classifier.weight)
    assert not torch.equal(fresh.stem[0].weight, problem.model.stem[0].weight)
    kept = beginner(problem, ERMParams(start="original"), [], usable, seeded())
    assert torch.equal(kept.stem[0].weight, problem.model.stem[0].weight)


def test_without_a_usable_channel_it_is_refused_in_one_line():
    problem = masked_problem()
    dense = replace(problem, kept={MASK: torch.ones_like(problem.kept[MASK])})
    with pytest.raises(BadInput, match="each of the 8 channels belongs to a class to forget") as caught:
        ERM.run(dense, ERM.params(), seeded(), None)
    assert "\n" not in str(caught.value)
