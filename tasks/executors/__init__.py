"""Who runs nodes: this process, or workers on a Ray cluster, behind one interface.

Knows seats, memory and addresses. Must not know what a node means or why it is run.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from tasks.executors.executor import Executor as Executor, make_executor as make_executor
    from tasks.executors.resources import (
        Capacity as Capacity,
        Group as Group,
        cluster_capacity as cluster_capacity,
    )
    from tasks.executors.tune_trial import TuneTrial as TuneTrial
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
