"""Q-MUL: what each reading of the paper that the equations leave open does (ALGORITHMS 3.4, A1 to A9)."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from core.data.loader import Batch, plain_batches
from core.errors import BadInput
from core.quant import FakeQuantizer
from core.unlearn.gradient_norms import gradient_norm
from core.unlearn.qmul import QMULParams, qmul, weighted_mean
from core.unlearn.similar_labels import similar_labels
from tests.core.toy_problem import (
    AUGMENTING,
    CLASSES,
    PLAIN,
    Watch,
    class_problem,
    differing,
    gradient_of,
    length,
    linear_problem,
    parameters_of,
    record_epochs,
    seeded,
    two_class_problem,
)

SHORT = {"epochs": 2, "batch_size": 24, "lr": 0.05, "schedule": "constant"}
ONE_STEP = {"epochs": 1, "batch_size": 8, "lr": 0.01, "momentum": 0.0, "weight_decay": 0.0}


@pytest.fixture
def mixed(monkeypatch):
    """(forget, retain) as every epoch mixes them, with their labels and weights."""
    return record_epochs(monkeypatch, "qmul")


def told_by(problem, **options):
    """The facts of every epoch."""
    told = []
    qmul(problem, QMULParams(**(SHORT | options)), seeded(), lambda _epoch, facts: told.append(facts))
    return told


def similar_by(model, images):
    with torch.no_grad():
        return similar_labels(model(PLAIN.normalise(images.pixels)).softmax(1), images.labels)


def in_train_mode(model):
    return copy.deepcopy(model).train()


# --- A1: labels once or before every epoch


def test_labels_are_the_originals_for_good_or_the_current_models_before_every_epoch(problem, mixed):
    after_one = qmul(problem, QMULParams(**SHORT | {"epochs": 1}), seeded())
    before, after = (similar_by(model, problem.forget) for model in (problem.model, after_one))
    assert not torch.equal(before, after)
    for refresh, second in (("once", before), ("epoch", after)):
        mixed.clear()
        qmul(problem, QMULParams(label_refresh=refresh, **SHORT), seeded())
        assert torch.equal(mixed[0][0].labels, before)
        assert torch.equal(mixed[1][0].labels, second)


# --- A2: the mode to measure in


def test_train_mode_measures_labels_and_norms_with_batch_statistics(problem, mixed):
    facts = told_by(problem, measure_mode="train", epochs=1, batch_size=72)[0]
    model = in_train_mode(problem.model)
    labels = similar_by(model, problem.forget)
    assert torch.equal(mixed[0][0].labels, labels)
    assert not torch.equal(labels, similar_by(problem.model, problem.forget))
    expected = length(gradient_of(model, problem.forget, labels)), length(gradient_of(model, problem.retain))
    assert facts["forget_gradient_norm"] == pytest.approx(expected[0], rel=1e-3)
    assert facts["retain_gradient_norm"] == pytest.approx(expected[1], rel=1e-3)
    assert length(gradient_of(problem.model, problem.retain)) != pytest.approx(expected[1], rel=1e-2)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_running_statistics_follow_in_train_mode_alone(problem, mode):
    model = Watch(problem.model)
    qmul(replace(problem, model=model), QMULParams(measure_mode=mode, **SHORT), seeded())
    moved = differing(model.log[0][3], model.log[1][3])  # by the pass that gives the labels
    assert bool(moved) is (mode == "train")
    assert all("running" in name or "tracked" in name for name in moved)


# --- A3: the images to measure on


def measured_images(problem, **options):
    """The inputs of the labels' pass and of the two norms', and the train modes of these three."""
    model = Watch(problem.model)
    params = QMULParams(**(SHORT | {"batch_size": 72} | options))
    qmul(replace(problem, model=model), params, seeded())
    return [x for _, _, x, _ in model.log[:3]], [training for training, *_ in model.log[:3]]


def test_augmented_measurements_see_the_generators_crops_and_flips_in_eval_mode_too(problem):
    problem = replace(problem, augment=AUGMENTING)
    images, modes = measured_images(problem, measure_augmented=True)
    g = seeded()
    torch.randint(2**31, (), generator=g)  # the loop's seed of dropout
    for seen, part in zip(images, (problem.forget, problem.forget, problem.retain), strict=True):
        draws = AUGMENTING.draw(len(part), g, part.pixels.device)
        assert torch.equal(seen, PLAIN.normalise(AUGMENTING.augment(part.pixels, draws)))
    assert modes == [False] * 3


def test_train_mode_alone_measures_on_plain_images(problem):
    images, modes = measured_images(replace(problem, augment=AUGMENTING), measure_mode="train")
    for seen, part in zip(images, (problem.forget, problem.forget, problem.retain), strict=True):
        plain = PLAIN.normalise(part.pixels)
        assert torch.equal(seen.flatten(1).sum(1).sort().values, plain.flatten(1).sum(1).sort().values)
    assert modes == [True] * 3


# --- A4: which norm


def test_the_norm_of_a_data_set_is_that_of_its_mean_gradient_whatever_the_batches(problem):
    """A mean over batches of different sizes counts images, not batches."""
    expected = length(gradient_of(problem.model, problem.retain))
    for size in (20, 72):  # 20 leaves a batch of 12
        passes = plain_batches(problem.retain, size, PLAIN)
        assert gradient_norm(problem.model, passes, "dataset") == pytest.approx(expected, rel=1e-3)
    assert gradient_norm(problem.model, plain_batches(problem.retain, 72, PLAIN)) == pytest.approx(
        expected, rel=1e-4
    )


def test_batches_cancel_in_a_data_sets_norm_and_not_in_their_mean():
    """Zero weights, one image, all labels in turn: the gradients of the softmax sum to zero."""
    model = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(model.weight)
    passes = [Batch(torch.ones(1, 3), torch.tensor([label]), None) for label in (0, 1)]
    assert gradient_norm(model, passes, "dataset") == pytest.approx(0, abs=1e-7)
    assert gradient_norm(model, passes, "global") == pytest.approx((6 * 0.25) ** 0.5)


@pytest.mark.parametrize("norm", ["global", "tensor_sum", "dataset"])
def test_the_norm_chosen_is_the_one_that_weighs(problem, norm):
    facts = told_by(problem, norm=norm, epochs=1, batch_size=20)[0]
    forget = problem.forget.relabelled(similar_by(problem.model, problem.forget))
    G_f, G_r = (
        gradient_norm(problem.model, plain_batches(images, 20, PLAIN), norm)
        for images in (forget, problem.retain)
    )
    assert (facts["forget_gradient_norm"], facts["retain_gradient_norm"]) == (G_f, G_r)
    assert facts["w_forget"] == G_r / (G_f + G_r)


# --- of how many images


def test_norms_of_some_images_are_those_of_as_many_evenly_spread(problem):
    facts = told_by(problem, norm_images=8, batch_size=4, epochs=1)[0]
    forget = problem.forget.relabelled(similar_by(problem.model, problem.forget))
    for name, images in (("forget", forget), ("retain", problem.retain)):
        some = images.select(torch.arange(8) * len(images) // 8)
        assert facts[f"{name}_gradient_norm"] == gradient_norm(problem.model, plain_batches(some, 4, PLAIN))


def test_norms_of_more_images_than_there_are_are_those_of_all(problem):
    assert told_by(problem, norm_images=10**6) == told_by(problem)


# --- A5: over which parameters


def test_weights_alone_are_all_parameters_but_quantizers_and_normalisation(problem):
    model = problem.model
    kinds = FakeQuantizer | nn.BatchNorm2d
    apart = {p for m in model.modules() if isinstance(m, kinds) for p in m.parameters()}
    gradient = dict(zip(model.parameters(), gradient_of(model, problem.retain), strict=True))
    kept = length([g for p, g in gradient.items() if p not in apart])
    rest = length([g for p, g in gradient.items() if p in apart])
    found = {}
    for over in ("all", "weights"):
        facts = told_by(problem, norm_over=over, epochs=1, batch_size=72)[0]
        found[over] = facts["retain_gradient_norm"]
    assert found["weights"] == pytest.approx(kept, rel=1e-4)
    assert found["all"] ** 2 == pytest.approx(kept**2 + rest**2, rel=1e-3)
    assert found["weights"] < found["all"]


# --- A6: the labels of G_f


def test_the_forget_norm_is_of_the_labels_trained_on_or_of_the_true_ones(problem):
    labels = {"similar": similar_by(problem.model, problem.forget), "true": problem.forget.labels}
    found = {name: told_by(problem, norm_labels=name, epochs=1)[0] for name in labels}
    for name, y in labels.items():
        expected = length(gradient_of(problem.model, problem.forget, y))
        assert found[name]["forget_gradient_norm"] == pytest.approx(expected, rel=1e-3)
    assert found["true"]["forget_gradient_norm"] < 0.5 * found["similar"]["forget_gradient_norm"]
    assert found["true"]["retain_gradient_norm"] == found["similar"]["retain_gradient_norm"]


def test_images_are_trained_on_similar_labels_whatever_is_measured(problem, mixed):
    told_by(problem, norm_labels="true", epochs=1)
    assert torch.equal(mixed[0][0].labels, similar_by(problem.model, problem.forget))


# --- A7: what a weighted mean divides by


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_the_weighted_mean_divides_by_the_weights_and_ignores_their_scale(seed, k):
    g = seeded(seed)
    logits, labels = torch.randn(5, 3, generator=g), torch.randint(3, (5,), generator=g)
    weights = torch.rand(5, generator=g) + 0.1
    each = F.cross_entropy(logits, labels, reduction="none")
    expected = float((weights * each).sum() / weights.sum())
    assert float(weighted_mean(logits, Batch(logits, labels, k * weights))) == pytest.approx(
        expected, rel=1e-4
    )


def test_the_weighted_mean_of_nothing_is_zero_and_without_weights_the_mean():
    logits, labels = torch.randn(4, 3, generator=seeded()), torch.tensor([0, 1, 2, 0])
    assert weighted_mean(logits, Batch(logits, labels, torch.zeros(4))).item() == 0
    assert weighted_mean(logits, Batch(logits, labels, None)) == F.cross_entropy(logits, labels)


@pytest.mark.parametrize("normaliser", ["count", "weights"])
def test_a_step_divides_by_the_images_or_by_their_weights(normaliser):
    """One image to forget, three to retain: (w_f g_f + 3 w_r g_r) / 4 or / (w_f + 3 w_r)."""
    problem, told = linear_problem(1, 3), []
    params = QMULParams(normaliser=normaliser, **ONE_STEP)
    found = qmul(problem, params, seeded(), lambda _epoch, facts: told.append(facts))
    w_f, w_r = told[0]["w_forget"], told[0]["w_retain"]
    g_f = gradient_of(problem.model, problem.forget, similar_by(problem.model, problem.forget))
    g_r = gradient_of(problem.model, problem.retain)
    total = 4 if normaliser == "count" else w_f + 3 * w_r
    for start, end, f, r in zip(problem.model.parameters(), found.parameters(), g_f, g_r, strict=True):
        torch.testing.assert_close(end, start - 0.01 * (w_f * f + 3 * w_r * r) / total, rtol=1e-4, atol=1e-7)


def test_dividing_by_the_weights_contradicts_batches_of_one_set():
    with pytest.raises(ValidationError, match="normaliser=weights contradicts order=sequential") as raised:
        QMULParams(normaliser="weights", order="sequential")
    assert isinstance(raised.value.errors()[0]["ctx"]["error"], BadInput)


# --- A9: fixed weights


@pytest.mark.parametrize(("weights", "value"), [("one", 1.0), ("half", 0.5)])
def test_fixed_weights_scale_the_plain_gradient_and_measure_nothing(weights, value):
    problem = linear_problem(2, 3)
    model = Watch(problem.model)
    told = []
    params = QMULParams(weights=weights, **ONE_STEP)
    found = qmul(replace(problem, model=model), params, seeded(), lambda _epoch, facts: told.append(facts))
    assert told[0].keys() == {"loss", "lr", "w_forget", "w_retain"}
    assert (told[0]["w_forget"], told[0]["w_retain"]) == (value, value)
    assert [entry[:2] for entry in model.log] == [(False, False), (True, True)]  # the labels, the step
    g_f = gradient_of(problem.model, problem.forget, similar_by(problem.model, problem.forget))
    g_r = gradient_of(problem.model, problem.retain)
    for start, end, f, r in zip(problem.model.parameters(), found.parameters(), g_f, g_r, strict=True):
        torch.testing.assert_close(end, start - 0.01 * value * (2 * f + 3 * r) / 5, rtol=1e-4, atol=1e-7)


def test_halves_divided_by_their_sum_are_ones():
    problem = linear_problem(2, 3)
    half = qmul(problem, QMULParams(weights="half", normaliser="weights", **ONE_STEP), seeded())
    one = qmul(problem, QMULParams(weights="one", **ONE_STEP), seeded())
    for name, p in parameters_of(one).items():
        torch.testing.assert_close(half.get_parameter(name).detach(), p, rtol=1e-5, atol=1e-8)


# --- the published assignment (S5) and whole classes


def test_shuffled_labels_are_the_same_labels_on_other_images(problem, mixed):
    params = QMULParams(label_assignment="shuffled", **SHORT)
    qmul(problem, params, seeded())
    aligned, shuffled = similar_by(problem.model, problem.forget), mixed[0][0].labels
    assert not torch.equal(aligned, shuffled)
    assert torch.equal(aligned.bincount(minlength=CLASSES), shuffled.bincount(minlength=CLASSES))


@pytest.mark.parametrize("labels", ["similar", "random"])
@pytest.mark.parametrize("assignment", ["aligned", "shuffled"])
def test_no_image_of_a_forgotten_class_keeps_its_label(mixed, labels, assignment):
    """In class-wise forgetting the permutation does no harm (S5)."""
    params = QMULParams(labels=labels, label_assignment=assignment, label_refresh="epoch", **SHORT)
    qmul(class_problem(2), params, seeded())
    assert len(mixed) == 2
    for forget, retain in mixed:
        assert not (forget.labels == 2).any()
        assert not (retain.labels == 2).any()


@pytest.mark.parametrize("forgotten", [0, 1])
@pytest.mark.parametrize("labels", ["similar", "random"])
def test_of_two_classes_the_other_one_is_the_label(mixed, forgotten, labels):
    qmul(two_class_problem(forgotten), QMULParams(labels=labels, **SHORT), seeded())
    assert set(mixed[0][0].labels.tolist()) == {1 - forgotten}


@pytest.mark.parametrize("forgotten", [0, 1])
def test_the_released_rule_gives_label_0_to_both_of_two_classes(mixed, forgotten):
    """S4 at its worst: the position among the other classes is always 0, for class 0 the true label."""
    qmul(two_class_problem(forgotten), QMULParams(label_rule="released", **SHORT), seeded())
    assert set(mixed[0][0].labels.tolist()) == {0}
