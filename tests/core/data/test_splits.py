"""Forget, retain and validation sets (ALGORITHMS 1)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from core.data.splits import pool_indices, shadow_split, split, validation_indices
from core.errors import BadInput

CIFAR10 = torch.arange(50_000) % 10
CIFAR100 = torch.arange(50_000) % 100


def parts_of(found):
    return [set(part.tolist()) for part in found]


@pytest.mark.parametrize(("ratio", "forgotten"), [(0.1, 4_500), (0.3, 13_500), (0.5, 22_500)])
def test_random_ratios_are_of_the_pool_of_45000(ratio, forgotten):
    found = split(CIFAR10, "random", ratio, seed=2)
    assert [len(part) for part in found] == [forgotten, 45_000 - forgotten, 5_000]


@pytest.mark.parametrize(("labels", "each"), [(CIFAR10, 4_500), (CIFAR100, 450)])
def test_the_pool_is_stratified(labels, each):
    found = split(labels, "random", 0.1, seed=2)
    pool = torch.cat([found.forget, found.retain])
    assert set(labels[pool].bincount().tolist()) == {each}


@pytest.mark.parametrize(("scenario", "amount"), [("random", 0.3), ("class", 4)])
def test_parts_are_disjoint_sorted_and_complete(scenario, amount):
    labels = torch.randint(0, 7, (1000,), generator=torch.Generator().manual_seed(0))
    found = split(labels, scenario, amount, seed=2)
    assert torch.equal(torch.cat(found).sort().values, torch.arange(1000))
    assert all(torch.equal(part, part.sort().values) for part in found)
    assert {part.dtype for part in found} == {torch.int64}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=40, max_size=120),
    st.floats(0.05, 0.9),
    st.integers(0, 2**31),
    st.floats(0, 0.5),
)
def test_any_labels_are_partitioned(labels, ratio, seed, validation):
    labels_N = torch.tensor(labels)
    found = split(labels_N, "random", ratio, seed, validation)
    assert torch.equal(torch.cat(found).sort().values, torch.arange(len(labels)))
    pool = len(labels) - len(found.validation)
    assert len(found.forget) == round(ratio * pool)
    for label in range(5):
        members = int((labels_N == label).sum())
        assert int((labels_N[found.validation] == label).sum()) == int(validation * members)


def test_the_draws_are_the_published_ones():
    """Validation: RandomState(seed) class by class; forget: RandomState(seed - 1) over the sorted pool."""
    labels = torch.arange(600) % 3
    found = split(labels, "random", 0.2, seed=2)
    rng = np.random.RandomState(2)
    held = [rng.choice(np.flatnonzero(labels.numpy() == c), 20, replace=False) for c in range(3)]
    assert found.validation.tolist() == sorted(np.concatenate(held).tolist())
    pool = np.setdiff1d(np.arange(600), np.concatenate(held))
    drawn = np.random.RandomState(1).choice(pool, 108, replace=False)
    assert found.forget.tolist() == sorted(drawn.tolist())


def test_one_class_is_forgotten_whole_class_zero_too():
    for label in (0, 9):
        found = split(CIFAR10, "class", label, seed=2)
        assert set(CIFAR10[found.forget].tolist()) == {label}
        assert label not in set(CIFAR10[found.retain].tolist())
        assert len(found.forget) == 4_500


def test_same_seed_same_parts_other_seed_other_parts():
    labels = torch.arange(500) % 5
    first, again, other = (split(labels, "random", 0.1, seed=s) for s in (2, 2, 3))
    assert parts_of(first) == parts_of(again)
    assert parts_of(first)[0] != parts_of(other)[0]
    assert parts_of(first)[2] != parts_of(other)[2]


def test_validation_does_not_depend_on_what_is_forgotten():
    labels = torch.arange(500) % 5
    held = set(validation_indices(labels, 0.1, 4).tolist())
    assert parts_of(split(labels, "random", 0.5, seed=4))[2] == held
    assert parts_of(split(labels, "class", 1, seed=4))[2] == held


def test_the_pool_is_what_is_forgotten_and_what_is_retained():
    found = split(CIFAR10, "random", 0.3, seed=4)
    pool = pool_indices(CIFAR10, 0.1, 4)
    assert torch.equal(pool, torch.cat([found.forget, found.retain]).sort().values)
    assert pool.dtype == torch.int64
    assert torch.equal(pool_indices(CIFAR10, 0.0, 4), torch.arange(50_000))


@pytest.mark.parametrize(("scenario", "amount"), [("random", 0.1), ("random", 0.5), ("class", 0)])
def test_a_tenth_of_what_is_forgotten_lies_outside_the_pool_of_another_seed(scenario, amount):
    """The published mismatch: the original's pool is of seed 1, forget and retain set are of seed 2."""
    seen = pool_indices(CIFAR10, 0.1, 1)
    found = split(CIFAR10, scenario, amount, seed=2)
    for part in (found.forget, found.retain):
        outside = 1 - torch.isin(part, seen).double().mean().item()
        assert outside == pytest.approx(0.1, abs=0.015)
    # and nine tenths of its validation images have been trained on
    assert torch.isin(found.validation, seen).double().mean().item() == pytest.approx(0.9, abs=0.015)


def test_numpys_global_generator_is_left_alone():
    np.random.seed(5)
    expected = np.random.RandomState(5).rand()
    split(torch.arange(100) % 5, "random", 0.2, seed=2)
    assert np.random.rand() == expected


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_extreme_seeds_work(seed):
    assert len(split(torch.arange(100) % 5, "random", 0.2, seed=seed).forget) == 18


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_ratio_outside_0_and_1_is_bad_input(ratio):
    with pytest.raises(BadInput, match=r"outside \(0, 1\)"):
        split(CIFAR10, "random", ratio, seed=2)


@pytest.mark.parametrize("label", [10, -1, 1.5])
def test_a_class_that_is_not_there_is_bad_input(label):
    with pytest.raises(BadInput, match="not in the dataset"):
        split(CIFAR10, "class", label, seed=2)


@pytest.mark.parametrize(
    ("labels", "scenario", "amount"), [([0] * 20, "class", 0), ([0, 1, 2], "random", 0.1)]
)
def test_a_split_with_an_empty_part_is_bad_input(labels, scenario, amount):
    with pytest.raises(BadInput, match="leaves"):
        split(torch.tensor(labels), scenario, amount, seed=2)


def test_holding_everything_back_is_bad_input():
    with pytest.raises(BadInput):
        split(torch.arange(20) % 2, "random", 0.5, seed=2, validation=1.0)


# --- shadows of an audit

SHADOWS = range(7)  # with the problem's own models eight


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.7])
def test_each_audited_image_is_inside_half_of_the_models(ratio):
    labels = CIFAR10[:2000]
    own = split(labels, "random", ratio, seed=3)
    audited = own.forget
    shadows = [shadow_split(labels, ratio, 3, 0.1, number) for number in SHADOWS]
    inside = [torch.isin(audited, found.forget) for found in shadows]
    assert (1 + torch.stack(inside).sum(0) == 4).all()
    assert all(not torch.isin(audited, found.retain).any() for found in shadows)
    assert not inside[0].any()
    assert all((inside[k] ^ inside[k + 1]).all() for k in (1, 3, 5))
    assert any((inside[1] != inside[k]).any() for k in (3, 4))


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.7])
def test_a_shadow_forgets_the_same_share_of_its_own_pool(ratio):
    labels = CIFAR10[:2000]
    own = split(labels, "random", ratio, seed=3)
    for number in SHADOWS:
        found = shadow_split(labels, ratio, 3, 0.1, number)
        assert len(found.forget) == round(ratio * (len(found.forget) + len(found.retain)))
        assert torch.equal(found.validation, own.validation)
        assert set(found.retain.tolist()) <= set(own.retain.tolist())
        assert all(torch.equal(part, part.unique()) for part in found)


def test_shadows_have_retained_images_in_common_and_depend_on_their_number_alone():
    labels = CIFAR10[:2000]
    shadows = [shadow_split(labels, 0.3, 3, 0.1, number) for number in range(15)]
    common = set.intersection(*(set(found.retain.tolist()) for found in shadows))
    assert len(common) >= 0.5 * len(split(labels, "random", 0.3, seed=3).retain) - 1
    again = shadow_split(labels, 0.3, 3, 0.1, 14)
    assert torch.equal(again.forget, shadows[14].forget)
    assert not torch.equal(shadows[13].forget, shadows[14].forget)
    other = shadow_split(labels, 0.3, 4, 0.1, 14)
    assert not torch.equal(other.forget, again.forget)


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 99), min_size=1, max_size=60), st.integers(0, 5))
def test_a_list_is_forgotten_whole_whatever_validation_was_drawn(rows, seed):
    labels = torch.arange(100) % 5
    found = split(labels, "list", len(rows), seed, 0.2, listed=sorted(rows))
    forget, retain, held = parts_of(found)
    usual = set(validation_indices(labels, 0.2, seed).tolist())
    assert (forget, held) == (rows, usual - rows)
    assert retain == set(range(100)) - usual - rows
    assert set(pool_indices(labels, 0.2, seed, sorted(rows)).tolist()) == forget | retain


@pytest.mark.parametrize(
    ("rows", "count"), [([3, 100], 2), ([-1], 1), ([], 0), ([1, 2], 3), (range(100), 100)]
)
def test_a_list_of_other_images_is_refused(rows, count):
    with pytest.raises(BadInput):
        split(torch.arange(100) % 5, "list", count, 1, listed=list(rows))


def test_shadows_of_a_list_are_drawn_as_those_of_a_random_share():
    labels, rows = CIFAR10[:2000], list(range(0, 200, 5))
    audited = torch.tensor(rows)
    shadows = [shadow_split(labels, 40, 3, 0.1, number, rows) for number in SHADOWS]
    inside = torch.stack([torch.isin(audited, found.forget) for found in shadows])
    assert (1 + inside.sum(0) == 4).all()
    assert not any(
        torch.isin(audited, torch.cat([found.retain, found.validation])).any() for found in shadows
    )
    share = 40 / (2000 - len(split(labels, "list", 40, 3, 0.1, rows).validation))
    for found in shadows:
        assert len(found.forget) == round(share * (len(found.forget) + len(found.retain)))
