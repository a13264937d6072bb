"""Searches that decide as they go: halving, ASHA and Optuna on Ray Tune, and the ledger of what each came to.

Knows plans and gaps to Retrain; must not know the driver, which asks it what to run next.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.search.candidates import TunedCell as TunedCell
    from orchestrator.search.halving import Halving as Halving
    from orchestrator.search.ledger import drop_states as drop_states, finish as finish
    from orchestrator.search.tune import tuned as tuned
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
