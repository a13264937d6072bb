"""Nodes, the values that travel with them, and the rooms that keep, compute and distribute them.

`node`, `job` and `record` are plain values; `store/` keeps results, `nodes/` computes one, `executors/` hands many to
workers. Knows `core` and Ray; neither grids nor trackers nor a command line.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from tasks.errors import Unavailable as Unavailable
    from tasks.job import Job as Job, Outcome as Outcome, Place as Place
    from tasks.node import (
        REVISIONS as REVISIONS,
        TRAINING as TRAINING,
        Kind as Kind,
        Node as Node,
        make_node as make_node,
        named_parents as named_parents,
        revision_of as revision_of,
    )
    from tasks.record import (
        DECIDED_ALIKE as DECIDED_ALIKE,
        SCHEMA as SCHEMA,
        SCHEMA_VERSION as SCHEMA_VERSION,
        Candidate as Candidate,
        Newer as Newer,
        Record as Record,
        Score as Score,
        figure_fields as figure_fields,
        from_parquet as from_parquet,
        refuse_newer as refuse_newer,
        to_parquet as to_parquet,
    )
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
