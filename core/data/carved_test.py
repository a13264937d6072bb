"""A test split carved out of the training images of a data set that has none."""

import numpy as np
import numpy.typing as npt

from core.data.readers import Arrays, Labels
from core.data.subset import stratified
from core.errors import BadInput

_ENTROPY = (0, 2)  # apart from those of the limits, (seed, 0) and (seed, 1)


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
    labels, test = arrays.train_labels, carved(name, arrays.train_labels, share)
    return arrays._replace(
        train_images=arrays.train_images[~test],
        train_labels=labels[~test],
        test_images=arrays.train_images[test],
        test_labels=labels[test],
        remarks=(*arrays.remarks, f"{test.sum():,} of {len(labels):,} training images are its test split"),
    )


def carved(name: str, labels: Labels, share: float) -> npt.NDArray[np.bool_]:
    """Which of the training images (N) become the test split. Raises BadInput if a class has too few for both."""
    counts = np.bincount(labels)
    alone = np.flatnonzero(counts == 1)
    if len(alone):
        raise BadInput(
            f"data.test_share={share:g}: class {alone[0]} of {name} has one image, too few for two splits"
        )
    size = int(np.clip(round(share * len(labels)), (counts > 0).sum(), (counts - 1).sum()))
    test = np.zeros(len(labels), dtype=bool)
    test[stratified(labels, size, _ENTROPY)] = True
    return test
