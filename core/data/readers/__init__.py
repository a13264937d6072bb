"""One short reader for each format that data sets come in, and what all of them check.

A reader finds its files below a data root and decodes them; it knows nothing of caches, limits or splits.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.data.readers.cifar_pickle import CifarPickle as CifarPickle, published_cifar as published_cifar
    from core.data.readers.digits import Digits as Digits
    from core.data.readers.idx_files import IdxFiles as IdxFiles, published_idx as published_idx
    from core.data.readers.image_folder import ImageFolder as ImageFolder
    from core.data.readers.label_table import table_rows as table_rows
    from core.data.readers.med_npz import MedNpz as MedNpz, organamnist as organamnist
    from core.data.readers.npz_archive import NpzArchive as NpzArchive
    from core.data.readers.parquet_table import ParquetTable as ParquetTable
    from core.data.readers.source import (
        ARRAYS as ARRAYS,
        Arrays as Arrays,
        Images as Images,
        Labels as Labels,
        Names as Names,
        Source as Source,
        plural as plural,
        unreadable as unreadable,
    )
    from core.data.readers.svhn_mat import SvhnMat as SvhnMat
    from core.data.readers.tiny_folder import TinyFolder as TinyFolder
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
