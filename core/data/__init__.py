"""Images and labels: which data sets there are, how each format is read, who is forgotten, and batches.

`load` gives the arrays of a data set, `split` the images to forget, to retain and to validate on. Knows nothing of
networks or methods. A data set is an entry of `DATASETS`, a format a file in `readers/`.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.data.catalog import (
        DATASETS as DATASETS,
        OWN as OWN,
        DatasetInfo as DatasetInfo,
        dataset_info as dataset_info,
    )
    from core.data.content import (
        content_digest as content_digest,
        decoded_training as decoded_training,
    )
    from core.data.dataset import Dataset as Dataset, Limit as Limit, load as load
    from core.data.list_file import list_entries as list_entries
    from core.data.list_matching import listed_images as listed_images
    from core.data.loader import (
        Batch as Batch,
        Images as Images,
        Transform as Transform,
        batches as batches,
        concat as concat,
        plain_batches as plain_batches,
    )
    from core.data.row_spans import rows_of as rows_of, spans as spans
    from core.data.scenarios import (
        LIST as LIST,
        Scenario as Scenario,
        listed_as as listed_as,
        scenario_kind as scenario_kind,
    )
    from core.data.splits import (
        Split as Split,
        pool_indices as pool_indices,
        shadow_split as shadow_split,
        split as split,
        split_indices as split_indices,
    )
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
