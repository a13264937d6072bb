"""Two grids beside each other, and what moved by more than the noise."""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.report.comparison.grids import (
        GridDifferences as GridDifferences,
        problem_words as problem_words,
    )
    from orchestrator.report.comparison.text import (
        HEADINGS as HEADINGS,
        KEY as KEY,
        against_csv as against_csv,
        against_markdown as against_markdown,
        cells as cells,
        floor_words as floor_words,
        only_lines as only_lines,
    )
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
