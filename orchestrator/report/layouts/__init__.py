"""Figures in the layouts of other papers: methods down, problems across."""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.report.layouts import text as text
    from orchestrator.report.layouts.pivot_tables import pivots as pivots
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
