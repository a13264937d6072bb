"""Results read back: rows of a store as values and as a polars frame, models, older revisions, the grids in a store.

`load_results` and `load_model` are its public functions. Must not run, draw or print anything.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.results import known_grids as known_grids, models as models
    from orchestrator.results.about_data import data_remarks as data_remarks
    from orchestrator.results.entries import Entry as Entry, Row as Row, collect as collect
    from orchestrator.results.figures import (
        record_of as record_of,
        request_facts as request_facts,
        wide_schema as wide_schema,
        with_figures as with_figures,
    )
    from orchestrator.results.image_digests import (
        other_images as other_images,
        with_digests as with_digests,
    )
    from orchestrator.results.known_grids import others as others
    from orchestrator.results.merged_rows import merged_files as merged_files, write_merged as write_merged
    from orchestrator.results.models import load_model as load_model
    from orchestrator.results.parquet import as_table as as_table, compressed as compressed
    from orchestrator.results.reading import (
        load_results as load_results,
        measured_rows as measured_rows,
        read_rows as read_rows,
    )
    from orchestrator.results.revisions import (
        Older as Older,
        find_older as find_older,
        groups as groups,
        notice as notice,
    )
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
