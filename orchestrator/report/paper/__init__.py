"""The paper's printed figures, and what keeps ours from being the same experiment."""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.report.paper import published as published
    from orchestrator.report.paper.deviations import (
        PrintedMethod as PrintedMethod,
        PrintedRows as PrintedRows,
        pairs_of as pairs_of,
        printed_rows as printed_rows,
    )
    from orchestrator.report.paper.published import COMPARED as COMPARED, find_published as find_published
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
