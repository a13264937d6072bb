"""The tables for a paper: LaTeX with booktabs, laid out as its own are."""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.report.latex.markup import (
        HOLE as HOLE,
        Group as Group,
        LatexTable as LatexTable,
        escape as escape,
        label_of as label_of,
        title_text as title_text,
    )
    from orchestrator.report.latex.tables import latex_tables as latex_tables
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
