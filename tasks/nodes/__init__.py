"""One thin function for each kind of node: load what it needs, call `core`, commit once.

A failure is a value here. Must not know executors: the same functions run inline and on Ray.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from tasks.nodes import warm as warm
    from tasks.nodes.auditing import AUDIT as AUDIT
    from tasks.nodes.failures import attempt as attempt, failed as failed
    from tasks.nodes.folders import data_folders as data_folders
    from tasks.nodes.measuring import candidate as candidate, deciding_gap as deciding_gap
    from tasks.nodes.provenance import (
        COORDINATES as COORDINATES,
        base_record as base_record,
        now as now,
    )
    from tasks.nodes.result import PREDICTIONS as PREDICTIONS
    from tasks.nodes.scoring import lacking_files as lacking_files, score_node as score_node
    from tasks.nodes.training import node_data as node_data
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
