"""An audit: what the margins of many models of one method give away, score by score, and what Retrain itself would.

`ATTACKS` is the registry; `audited` measures, with floors. Pure functions over margins and figures.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.metrics.audit.attacks import (
        ATTACKS as ATTACKS,
        Score as Score,
        all_scores as all_scores,
        curve as curve,
    )
    from core.metrics.audit.evidence import Evidence as Evidence, Side as Side, halves as halves
    from core.metrics.audit.floors import Audit as Audit, Reading as Reading, audited as audited
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
