"""The driver: ready nodes to free workers, outcomes back, searches in between, and care of the store.

Has no state beyond what the store holds. Must not know reports, trackers or the command line.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.run import maintenance as maintenance
    from orchestrator.run.driver import Driver as Driver
    from orchestrator.run.outcomes import Clock as Clock, Summary as Summary
    from orchestrator.run.progress import Progress as Progress
    from orchestrator.run.scoring import Scored as Scored, score_store as score_store
    from orchestrator.run.search_stage import tune_stage as tune_stage
    from orchestrator.run.watch import learn as learn, words as words
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
