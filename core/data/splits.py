"""Who is forgotten, who is retained, who validates: pure, seeded index sets (ALGORITHMS section 1)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.data.scenarios import Scenario
from core.errors import BadInput
from core.lazy import Tensor, torch


class Split(NamedTuple):
    """Sorted, disjoint int64 index tensors into the training set; together they are all of it."""

    forget: Tensor
    retain: Tensor
    validation: Tensor


def split(
    labels: Tensor,
    scenario: Scenario,
    amount: float,
    seed: int,
    validation: float = 0.1,
    listed: Sequence[int] | np.ndarray = (),
) -> Split:
    """Splits a training set for one unlearning problem.

    The validation share is drawn class by class with RandomState(seed), the forget set with
    RandomState(seed - 1), as published. The published code trains its original model on the pool of seed 1
    and unlearns on the pool of its seed argument (2 by default), so that a tenth of the forget set was never
    trained on. Deliberate deviation: one seed serves both, unless an original is trained on `pool_indices`
    of another seed, which is what a grid's split=mismatched does.

    Args:
        labels: int64, N.
        scenario: "random" forgets the share `amount` of the pool; "class" forgets class `amount` whole; "list" the
            `amount` images that are listed.
        amount: ratio in (0, 1), a class index, or how many images are listed.
        seed: of both draws.
        validation: share of each class kept from training.
        listed: rows that are forgotten by "list". Those that the validation share was drawn from go into the pool, so
            that all of them are trained on.

    Raises BadInput for a ratio outside (0, 1), a class or row that is not there, or an empty part.
    """
    parts = split_indices(labels.cpu().numpy(), scenario, amount, seed, validation, listed)
    return Split(*map(torch.from_numpy, parts))


def split_indices(
    labels_N: np.ndarray,
    scenario: Scenario,
    amount: float,
    seed: int,
    validation: float = 0.1,
    listed: Sequence[int] | np.ndarray = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`split` on arrays, for whoever shows images without torch; the same arguments, parts and errors."""
    held = np.setdiff1d(_held(labels_N, validation, seed), np.asarray(listed, np.int64))
    pool = np.setdiff1d(np.arange(len(labels_N)), held)
    if scenario == "list":
        forget = _listed_indices(len(labels_N), amount, listed)
    else:
        forget = np.sort(_forget_indices(labels_N, pool, scenario, amount, seed))
    retain = np.setdiff1d(pool, forget)
    if len(forget) == 0 or len(retain) == 0:
        raise BadInput(
            f"{scenario} forgetting of {amount} leaves {len(forget)} images to forget, {len(retain)} to retain"
        )
    return forget, retain, held


def shadow_split(
    labels: Tensor,
    amount: float,
    seed: int,
    validation: float,
    number: int,
    listed: Sequence[int] | np.ndarray = (),
) -> Split:
    """The split of one shadow model in an audit of random forgetting, or of a list: another pool and forget set.

    What is audited are the images that the problem itself forgets, `split(labels, "random", amount, seed)`, or those
    that are listed, `amount` of them, which are then the share of the pool that a shadow forgets. A shadow
    trains on some of them and forgets those; the others are in none of its three sets. Shadow 0 has none, 1 and 2 one
    half each of a random division, 3 and 4 of another, and so on: with the problem's own models, which have all, each
    image is inside exactly half of 2, 4, 6, … models. The forget set is filled up from the retained images to the share
    `amount` of the shadow's pool; half of them, or as many as are left over, are never taken, so that shadows have
    retained images in common. Validation images are the problem's.

    Args:
        labels, amount, seed, validation, listed: of the problem, see `split`.
        number: of the shadow; what is drawn depends on nothing but it and the problem.

    Raises BadInput as `split` does.
    """
    own = split(labels, "list" if len(listed) else "random", amount, seed, validation, listed)
    audited, retained = own.forget.numpy(), own.retain.numpy()
    if len(listed):
        amount = len(audited) / (len(audited) + len(retained))
    inside = _inside(audited, seed, number)
    most = max(len(retained) // 2, round(amount * len(retained)))
    spare = np.random.RandomState(_drawn(seed, "spare")).permutation(retained)[:most]
    wanted = max(1, round(amount * (len(retained) + len(inside)))) - len(inside)
    rng = np.random.RandomState(_drawn(seed, f"shadow {number}"))
    forget = np.concatenate([inside, rng.permutation(spare)[: max(0, wanted)]])
    retain = np.setdiff1d(retained, forget)
    return Split(torch.from_numpy(np.sort(forget)), torch.from_numpy(retain), own.validation)


def _inside(audited: np.ndarray, seed: int, number: int) -> np.ndarray:
    """The audited images that a shadow trains on."""
    if number == 0:
        return audited[:0]
    pair, second = divmod(number - 1, 2)
    order = np.random.RandomState(_drawn(seed, f"pair {pair}")).permutation(audited)
    return order[len(order) // 2 :] if second else order[: len(order) // 2]


def _drawn(seed: int, what: str) -> int:
    """The seed of a draw of its own."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{what}".encode()).digest()[:4], "big")


def pool_indices(
    labels: Tensor, validation: float, seed: int, listed: Sequence[int] | np.ndarray = ()
) -> Tensor:
    """Sorted indices that training may see, int64: everything but the validation share, and what is listed."""
    held = np.setdiff1d(_held(labels.cpu().numpy(), validation, seed), np.asarray(listed, np.int64))
    return torch.from_numpy(np.setdiff1d(np.arange(len(labels)), held))


def validation_indices(labels: Tensor, share: float, seed: int) -> Tensor:
    """Indices kept from training and unlearning alike, int64: the share of each class, rounded down."""
    return torch.from_numpy(_held(labels.cpu().numpy(), share, seed))


def _held(labels_N: np.ndarray, share: float, seed: int) -> np.ndarray:
    rng = np.random.RandomState(seed)
    drawn = [np.empty(0, dtype=np.int64)]
    for label in np.unique(labels_N):
        members = np.flatnonzero(labels_N == label)
        drawn.append(rng.choice(members, int(share * len(members)), replace=False))
    return np.concatenate(drawn)


def _listed_indices(count: int, amount: float, listed: Sequence[int] | np.ndarray) -> np.ndarray:
    rows = np.unique(np.asarray(listed, np.int64))
    if len(rows) and not 0 <= rows[0] <= rows[-1] < count:
        raise BadInput(f"the list names row {rows[-1]} of {count} training images (valid: 0-{count - 1})")
    if len(rows) != amount:
        raise BadInput(f"a list of {amount:g} images names {len(rows)}")
    return rows


def _forget_indices(
    labels_N: np.ndarray, pool: np.ndarray, scenario: Scenario, amount: float, seed: int
) -> np.ndarray:
    if scenario == "class":
        members = pool[labels_N[pool] == int(amount)]
        if len(members) == 0 or amount != int(amount):
            raise BadInput(f"class {amount:g} is not in the dataset (valid: 0-{int(labels_N.max())})")
        return members
    if not 0 < amount < 1:
        raise BadInput(f"forget ratio {amount:g} is outside (0, 1); the paper uses 0.1, 0.3 and 0.5")
    rng = np.random.RandomState((seed - 1) % 2**32)
    return rng.choice(pool, round(amount * len(pool)), replace=False)
