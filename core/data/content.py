"""Which images lie under a data root: their digest, which keys of results follow, and those that are decoded."""

from functools import partial
from pathlib import Path

from core.data.cache import cached, held, recorded_digest
from core.data.catalog import dataset_info
from core.data.locate import decoded, identity, lying
from core.data.readers import Images, Labels
from core.data.subset import stratified
from core.errors import BadInput


def content_digest(
    name: str, root: Path, cache: Path, *, decode: bool, test_share: float | None = None
) -> str | None:
    """`Dataset.digest` of the data set as it lies under a root; None if it is not there or cannot be read.

    The cache remembers it by the files' names, sizes and times, so that only their listing is read. decode: if it
    does not, decode the images into the cache, where a run finds them; else the answer is None. test_share: as for
    `load`.
    """
    info = dataset_info(name)
    try:
        here = lying(info, root)
        if here is None:
            return None
        source, files = here
        about = identity(info, source, files, root, test_share)
        found = recorded_digest(cache, name, about)
        if found is None and decode:
            found = cached(cache, name, about, partial(decoded, info, source, files, test_share))[1]
    except (BadInput, OSError):
        return None  # whoever needs the images says what is wrong with them
    return found


def decoded_training(
    name: str,
    root: Path,
    cache: Path,
    digest: str,
    *,
    keep: int | None = None,
    test_share: float | None = None,
) -> tuple[Images, Labels] | None:
    """The training images (N, 3, H, W) and labels that `load` gives, without torch and without decoding anything.

    digest: of the data set that is meant. keep: as `Limit.train`. None unless those very images lie here decoded.
    """
    info = dataset_info(name)
    try:
        here = lying(info, root)
        about = identity(info, *here, root, test_share) if here else None
    except (BadInput, OSError):
        return None
    found = held(cache, name, about) if about and recorded_digest(cache, name, about) == digest else None
    if found is None:
        return None
    images, labels = found[0].train_images, found[0].train_labels
    if keep is None or keep >= len(labels):
        return images, labels
    kept = stratified(labels, keep, (0, 0))
    return images[kept], labels[kept]
