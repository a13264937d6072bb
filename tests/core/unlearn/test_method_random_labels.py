"""RL (ALGORITHMS 4.4)."""

import pytest
import torch
from scipy.stats import chisquare

from core.data.loader import Images
from core.unlearn import METHODS, Problem
from core.unlearn.random_labels import RelabelledEpochs, RLParams, epoch_in_order, random_labels
from tests.core.toy_problem import CLASSES, PLAIN, class_problem, seeded


def marked_problem(forget=10, retain=30):
    """Forget pixels are 200, retain pixels 100, so that a batch shows where it comes from."""
    sets = [
        Images(torch.full((n, 3, 4, 4), value, dtype=torch.uint8), torch.arange(n) % CLASSES)
        for n, value in ((forget, 200), (retain, 100))
    ]
    return Problem(torch.nn.Identity(), *sets, CLASSES, PLAIN, torch.device("cpu"))


def origin(batch):
    """True per image of the forget set."""
    return batch.images[:, 0, 0, 0] > 0.5


@pytest.mark.parametrize("true_label", range(CLASSES))
def test_the_other_classes_are_equally_likely(true_label):
    labels = torch.full((9_000,), true_label)
    counts = random_labels(labels, CLASSES, seeded(), False).bincount(minlength=CLASSES)
    assert counts[true_label] == 0
    others = counts[torch.arange(CLASSES) != true_label]
    assert chisquare(others.numpy()).pvalue > 1e-3


def test_all_classes_are_equally_likely_when_the_truth_is_possible():
    counts = random_labels(torch.zeros(10_000, dtype=torch.int64), 10, seeded(), True).bincount(minlength=10)
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_the_truth_is_excluded_by_default_and_possible_as_released():
    assert RLParams().true_label_possible is False
    assert METHODS["rl"].released["true_label_possible"] is True


def test_two_classes_leave_only_the_other():
    labels = torch.tensor([0, 1, 1, 0])
    assert random_labels(labels, 2, seeded(), False).tolist() == [1, 0, 0, 1]


def test_no_image_of_a_forgotten_class_keeps_its_label_unless_the_truth_is_possible():
    problem = class_problem(1)
    for possible in (False, True):
        epoch = RelabelledEpochs(problem, RLParams(true_label_possible=possible), seeded())
        kept = torch.cat([b.labels for number in range(3) for b in epoch(number)]) == 1
        assert bool(kept.any()) is possible


def test_labels_are_drawn_afresh_for_every_epoch_and_the_data_keep_theirs():
    problem = marked_problem(forget=50)
    epoch = RelabelledEpochs(problem, RLParams(batch_size=256), seeded())
    drawn = []
    for number in range(2):
        batch = next(iter(epoch(number)))
        drawn.append(batch.labels[origin(batch)].sort().values)
    assert not torch.equal(*drawn)
    assert torch.equal(problem.forget.labels, torch.arange(50) % CLASSES)


def test_retained_images_keep_their_labels():
    problem = marked_problem()
    labels = [b.labels[~origin(b)] for b in RelabelledEpochs(problem, RLParams(batch_size=8), seeded())(0)]
    assert torch.cat(labels).bincount().tolist() == problem.retain.labels.bincount().tolist()


@pytest.mark.parametrize("order", ["joint", "sequential"])
def test_an_epoch_reads_every_image_once(order):
    problem = marked_problem()
    params = RLParams(order=order, batch_size=8)
    origins = torch.cat([origin(b) for b in RelabelledEpochs(problem, params, seeded())(0)])
    assert (int(origins.sum()), len(origins)) == (10, 40)


def test_sequential_takes_the_forget_set_first_and_ends_on_retained_data():
    problem = marked_problem()
    params = RLParams(order="sequential", batch_size=8)
    epoch = RelabelledEpochs(problem, params, seeded())
    for number in range(3):
        kinds = [origin(b) for b in epoch(number)]
        assert all(bool((k == k[0]).all()) for k in kinds)  # no batch mixes the sets
        assert [bool(k[0]) for k in kinds] == [True] * 2 + [False] * 4


def test_joint_batches_mix_both_sets():
    problem = marked_problem(20, 20)
    params = RLParams(batch_size=20)
    found = epoch_in_order(problem.forget, problem.retain, "joint", params, problem, seeded())
    assert all(0 < int(origin(b).sum()) < 20 for b in found)
