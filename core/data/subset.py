"""A seeded subset that keeps the proportions of the classes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def stratified(labels: Indices, size: int, entropy: Sequence[int]) -> Indices:
    """`size` sorted indices into `labels` (N,), each class holding its share of them as nearly as possible.

    Every class that occurs gets at least one, so `size` lies between their number and N. The draw is PCG64
    seeded with `entropy`; only its raw stream is used, which numpy promises never to change.
    """
    order = np.argsort(np.random.PCG64(entropy).random_raw(len(labels)), kind="stable")
    quotas = _quotas(np.bincount(labels), size)
    picked = [order[labels[order] == label][:quota] for label, quota in enumerate(quotas)]
    return np.sort(np.concatenate(picked)).astype(np.int64)


def kept_rows(labels: Indices, size: int | None, entropy: Sequence[int]) -> Indices:
    """Sorted rows that a limit of `size` images leaves of a split, all of them where it is None or no limit."""
    if size is None or size >= len(labels):
        return np.arange(len(labels))
    return stratified(labels, size, entropy)


def _quotas(counts: Indices, size: int) -> Indices:
    """How many of each class: the whole part of its share, what is left to the largest remainders."""
    share = size * counts / counts.sum()
    quotas = np.maximum(np.floor(share), counts > 0).astype(np.int64)
    while quotas.sum() < size:
        quotas[np.argmax(np.where(quotas < counts, share - quotas, -np.inf))] += 1
    while quotas.sum() > size:
        quotas[np.argmin(np.where(quotas > 1, share - quotas, np.inf))] -= 1
    return quotas
