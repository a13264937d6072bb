"""Q-MUL: similar labels and adaptive gradient reweighting (ALGORITHMS 3)."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F

from core.data.loader import plain_batches
from core.unlearn import METHODS
from core.unlearn.gradient_norms import gradient_norm
from core.unlearn.qmul import QMULParams, gradient_weights, qmul
from core.unlearn.similar_labels import released_labels, similar_labels
from tests.core.toy_problem import (
    AUGMENTING,
    PLAIN,
    Watch,
    differing,
    gradient_of,
    length,
    linear_problem,
    parameters_of,
    seeded,
    state_of,
)

SHORT = {"epochs": 2, "batch_size": 24, "lr": 0.01}
RELEASED = METHODS["qmul"].released


def similar(probabilities, label):
    return similar_labels(torch.tensor([probabilities]), torch.tensor([label])).item()


# --- similar labels (eq. 7-8)


@pytest.mark.parametrize(
    ("probabilities", "label", "expected"),
    [
        ((0.7, 0.2, 0.1), 0, 1),
        ((0.6, 0.25, 0.15), 2, 1),  # nearest in probability, not the predicted class 0
        ((0.1, 0.2, 0.7), 2, 1),
        ((0.4, 0.3, 0.3), 0, 1),  # a tie goes to the lower class
        ((0.9, 0.1), 0, 1),
        ((0.9, 0.1), 1, 0),
        ((1.0, 0.0, 0.0), 0, 1),
    ],
)
def test_similar_label_examples(probabilities, label, expected):
    assert similar(probabilities, label) == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6))
def test_the_similar_label_is_nearest_and_never_the_true_one(classes, seed):
    g = seeded(seed)
    p = (torch.randn(9, classes, generator=g) * 3).softmax(1)
    labels = torch.randint(classes, (9,), generator=g)
    for row, label, found in zip(p, labels.tolist(), similar_labels(p, labels).tolist(), strict=True):
        assert found != label
        others = [abs(float(row[c] - row[label])) for c in range(classes) if c != label]
        assert abs(float(row[found] - row[label])) == pytest.approx(min(others), abs=1e-7)


def test_a_correct_prediction_gets_its_runner_up():
    p = (torch.randn(50, 8, generator=seeded()) * 2).softmax(1)
    order = p.argsort(1, descending=True)
    assert torch.equal(similar_labels(p, order[:, 0]), order[:, 1])


def test_two_classes_swap():
    p = torch.rand(20, 1, generator=seeded())
    labels = torch.arange(20) % 2
    assert torch.equal(similar_labels(torch.cat([p, 1 - p], 1), labels), 1 - labels)


# --- the released rule (S3, S4)


def test_released_label_of_the_example_is_the_true_label_itself():
    """logits (5, 1, -2), y = 1: distances {0: 4.98, 2: 2.02}, compressed argmin 1, which is y."""
    assert released_labels(torch.tensor([[5.0, 1.0, -2.0]]), torch.tensor([1])).tolist() == [1]


def test_released_label_is_the_position_among_the_other_classes():
    g = seeded(4)
    logits, labels = torch.randn(40, 6, generator=g) * 3, torch.randint(6, (40,), generator=g)
    for row, label, found in zip(
        logits, labels.tolist(), released_labels(logits, labels).tolist(), strict=True
    ):
        p_y = float(row.softmax(0)[label])
        compressed = [abs(float(row[c]) - p_y) for c in range(6) if c != label]
        assert found == min(range(5), key=compressed.__getitem__)


# --- gradient weights (eq. 14-16)


def test_gradient_weight_examples():
    assert gradient_weights(3.0, 1.0) == (0.25, 0.75)
    assert gradient_weights(2.0, 2.0) == (0.5, 0.5)
    assert gradient_weights(0.0, 0.0) == (0.5, 0.5)
    assert gradient_weights(0.0, 4.0) == (1.0, 0.0)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
def test_gradient_weights_sum_to_one_balance_the_norms_and_ignore_scale(forget, retain, k):
    w_forget, w_retain = gradient_weights(forget, retain)
    assert w_forget + w_retain == pytest.approx(1)
    assert w_forget * forget == pytest.approx(w_retain * retain)
    assert gradient_weights(k * forget, k * retain) == pytest.approx((w_forget, w_retain))


# --- gradient norms


def test_norms_are_means_over_batches(problem):
    model = problem.model
    totals, sums = [], []
    for batch in plain_batches(problem.retain, 20, PLAIN):  # the last one is smaller, and counts the same
        grads = torch.autograd.grad(
            F.cross_entropy(model(batch.images), batch.labels), list(model.parameters())
        )
        norms = [float(g.norm()) for g in grads]
        totals.append(math.sqrt(sum(n**2 for n in norms)))
        sums.append(sum(norms))

    def measured(norm):
        return gradient_norm(model, plain_batches(problem.retain, 20, PLAIN), norm)

    assert measured("global") == pytest.approx(sum(totals) / 4, rel=1e-4)
    assert measured("tensor_sum") == pytest.approx(sum(sums) / 4, rel=1e-4)


def test_measuring_changes_neither_state_nor_gradients(problem):
    for p in problem.model.parameters():
        p.grad = torch.full_like(p, 0.5)
    before = state_of(problem.model)
    gradient_norm(problem.model, plain_batches(problem.retain, 20, PLAIN))
    assert differing(before, problem.model) == []
    assert all(bool((p.grad == 0.5).all()) for p in problem.model.parameters())


def watched(problem, **options):
    """What every forward pass that is not a training step saw and left behind."""
    model = Watch(problem.model)
    qmul(replace(problem, model=model), QMULParams(**(SHORT | options)), seeded())
    return model.log


def test_measurements_before_an_epoch_are_pure(problem):
    """State is bit-identical from before the labels to the epoch's first step, BN buffers included."""
    log = watched(problem)
    first_step = next(i for i, entry in enumerate(log) if entry[0])
    assert first_step == 1 + 1 + 3  # labels of 24 images; norms of 24 and of 72
    assert all(differing(log[0][3], log[i][3]) == [] for i in range(first_step + 1))
    second = next(i for i in range(first_step, len(log)) if not log[i][0])
    resumed = next(i for i in range(second, len(log)) if log[i][0])
    assert resumed - second == 1 + 3  # labels are not measured again
    assert all(differing(log[second][3], log[i][3]) == [] for i in range(second, resumed + 1))


def test_measurements_leave_the_optimizers_momentum_alone(problem, monkeypatch):
    """Momentum after the last step of an epoch is the one that the next epoch's first step starts from."""
    buffers = []
    really = torch.optim.SGD.step

    def momenta(optimizer):
        return [s["momentum_buffer"].clone() for s in optimizer.state.values()]

    def step(self, *args, **kwargs):
        buffers.append(momenta(self))
        really(self, *args, **kwargs)
        buffers.append(momenta(self))

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    qmul(problem, QMULParams(**SHORT), seeded())
    assert len(buffers) == 2 * 2 * 4
    for after, before in zip(buffers[1:-1:2], buffers[2::2], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_labels_and_norms_are_measured_on_plain_images_in_eval_mode(problem):
    log = watched(problem)
    plain = PLAIN.normalise(problem.forget.pixels)
    assert torch.equal(log[0][2], plain)
    assert torch.equal(log[1][2], plain)
    assert not log[0][1]
    assert log[1][1]


def test_released_measures_labels_on_augmented_images_in_train_mode(problem):
    """S2: the model is in train mode under no_grad, the inputs are augmented."""
    log = watched(replace(problem, augment=AUGMENTING), **RELEASED)
    label_passes = [entry for entry in log if not entry[1]]
    assert label_passes
    assert all(training for training, *_ in label_passes)
    plain = {tuple(x.flatten().tolist()) for x in PLAIN.normalise(problem.forget.pixels)}
    seen = [tuple(x.flatten().tolist()) for entry in label_passes for x in entry[2]]
    assert sum(x in plain for x in seen) < len(seen) / 2  # 1 in 18 crops and flips is the image itself


def test_released_measurements_move_running_statistics(problem):
    log = watched(problem, **RELEASED)
    moved = differing(log[0][3], log[1][3])
    assert moved
    assert all("running" in name or "tracked" in name for name in moved)


# --- the step


def test_a_joint_step_is_equation_17():
    """One forget and one retain sample: the gradient is (w_f g_f + w_r g_r)/2."""
    problem, told = linear_problem(1, 1), []
    lr = 0.01
    params = QMULParams(epochs=1, batch_size=2, lr=lr, momentum=0.0, weight_decay=0.0)
    found = qmul(problem, params, seeded(), lambda _e, facts: told.append(facts))
    model = problem.model
    p = model(PLAIN.normalise(problem.forget.pixels)).softmax(1)
    y_s = similar_labels(p, problem.forget.labels)
    g_f, g_r = (
        gradient_of(model, problem.forget, y_s),
        gradient_of(model, problem.retain, problem.retain.labels),
    )
    norm_f, norm_r = length(g_f), length(g_r)
    w_f, w_r = norm_r / (norm_f + norm_r), norm_f / (norm_f + norm_r)
    assert told[0]["w_forget"] == pytest.approx(w_f, rel=1e-5)
    assert told[0]["w_retain"] == pytest.approx(w_r, rel=1e-5)
    assert told[0]["forget_gradient_norm"] == pytest.approx(norm_f, rel=1e-5)
    for start, end, f, r in zip(model.parameters(), found.parameters(), g_f, g_r, strict=True):
        torch.testing.assert_close(
            end.detach(), start.detach() - lr * (w_f * f + w_r * r) / 2, rtol=1e-4, atol=1e-7
        )


def test_a_sequential_epoch_steps_on_the_weighted_forget_set_first():
    """S8: w_f·CE on the forget batch, then w_r·CE on the retain batch, each its own step."""
    problem = linear_problem(3, 3)
    params = QMULParams(epochs=1, batch_size=8, lr=0.01, momentum=0.0, weight_decay=0.0, order="sequential")
    told = []
    found = qmul(problem, params, seeded(), lambda _e, facts: told.append(facts))
    model = copy.deepcopy(problem.model)
    y_s = similar_labels(model(PLAIN.normalise(problem.forget.pixels)).softmax(1), problem.forget.labels)
    for images, labels, weight in (
        (problem.forget, y_s, told[0]["w_forget"]),
        (problem.retain, problem.retain.labels, told[0]["w_retain"]),
    ):
        for p, g in zip(model.parameters(), gradient_of(model, images, labels), strict=True):
            p.data.sub_(0.01 * weight * g)
    for name, p in parameters_of(found).items():
        torch.testing.assert_close(p, model.get_parameter(name).detach(), rtol=1e-4, atol=1e-6)


def test_weights_are_measured_anew_before_every_epoch(problem):
    told = []
    qmul(problem, QMULParams(epochs=3, batch_size=24, lr=0.05), seeded(), lambda _e, f: told.append(f))
    assert len({f["w_forget"] for f in told}) == 3
    for facts in told:
        assert facts["w_forget"] + facts["w_retain"] == pytest.approx(1)
        assert facts["w_forget"] * facts["forget_gradient_norm"] == pytest.approx(
            facts["w_retain"] * facts["retain_gradient_norm"]
        )
        assert {"loss", "lr"} <= facts.keys()


def test_memorised_samples_under_wrong_labels_have_the_larger_gradient(problem):
    """Usually G_f >> G_r, so that w_r is near 1 (section 3.4)."""
    told = []
    qmul(problem, QMULParams(epochs=1, batch_size=24), seeded(), lambda _e, f: told.append(f))
    assert told[0]["forget_gradient_norm"] > 3 * told[0]["retain_gradient_norm"]


def test_every_option_is_one_of_the_named_departures():
    assert QMULParams().model_dump() | dict(RELEASED) == QMULParams(**RELEASED).model_dump()
    assert set(RELEASED) - {"decay_quantizers"} == {
        "label_rule",
        "label_refresh",
        "label_assignment",
        "measure_mode",
        "measure_augmented",
        "norm",
        "order",
    }
