"""Which images lie under a data root, as a digest, before any of them is needed: what keys of results follow."""

from functools import partial
from pathlib import Path

from core.data.cache import cached, recorded_digest
from core.data.catalog import dataset_info
from core.data.locate import decoded, identity, lying
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
