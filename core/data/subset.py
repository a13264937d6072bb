"""A seeded subset that keeps the proportions of the classes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from core.data.readers import Arrays, Labels
from core.errors import BadInput

Indices = npt.NDArray[np.int64]
_TEST_ENTROPY = (0, 2)  # apart from those of the limits, (seed, 0) and (seed, 1)


def stratified(labels: Labels, size: int, entropy: Sequence[int]) -> Indices:
    """`size` sorted indices into `labels` (N,), each class holding its share of them as nearly as possible.

    Every class that occurs gets at least one, so `size` lies between their number and N. The draw is PCG64
    seeded with `entropy`; only its raw stream is used, which numpy promises never to change.
    """
    order = np.argsort(np.random.PCG64(entropy).random_raw(len(labels)), kind="stable")
    quotas = _quotas(np.bincount(labels), size)
    picked = [order[labels[order] == label][:quota] for label, quota in enumerate(quotas)]
    return np.sort(np.concatenate(picked)).astype(np.int64)


def with_test_share(name: str, arrays: Arrays, share: float | None) -> Arrays:
    """The arrays, with a share (0..1) of the training images as the test split where there is none.

    The same images every time, of each class its part. Raises BadInput if there is no test split and no share, and
    if a class has too few images for both.
    """
    if len(arrays.test_labels):
        ignored = "it has a test split of its own, data.test_share is not used"
        return arrays._replace(remarks=(*arrays.remarks, ignored)) if share else arrays
    if share is None:
        raise BadInput(
            f"{name} has no test images; take a share of its training images with --set data.test_share=0.2"
        )
    labels = arrays.train_labels
    counts = np.bincount(labels)
    alone = np.flatnonzero(counts == 1)
    if len(alone):
        raise BadInput(
            f"data.test_share={share:g}: class {alone[0]} of {name} has one image, too few for two splits"
        )
    size = int(np.clip(round(share * len(labels)), (counts > 0).sum(), (counts - 1).sum()))
    test = np.zeros(len(labels), dtype=bool)
    test[stratified(labels, size, _TEST_ENTROPY)] = True
    return arrays._replace(
        train_images=arrays.train_images[~test],
        train_labels=labels[~test],
        test_images=arrays.train_images[test],
        test_labels=labels[test],
        remarks=(*arrays.remarks, f"{size:,} of {len(labels):,} training images are its test split"),
    )


def _quotas(counts: Indices, size: int) -> Indices:
    """How many of each class: the whole part of its share, what is left to the largest remainders."""
    share = size * counts / counts.sum()
    quotas = np.maximum(np.floor(share), counts > 0).astype(np.int64)
    while quotas.sum() < size:
        quotas[np.argmax(np.where(quotas < counts, share - quotas, -np.inf))] += 1
    while quotas.sum() > size:
        quotas[np.argmin(np.where(quotas > 1, share - quotas, np.inf))] -= 1
    return quotas
