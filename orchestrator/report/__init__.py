"""The report: tables, charts, layouts, LaTeX, CSV and the comparison of two grids, all from rows alone.

`write_report` writes all of it. Must not know workers, drivers or MLflow.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.report.activation_figure import (
        FORMATS as FORMATS,
        PictureRow as PictureRow,
        picture as picture,
    )
    from orchestrator.report.comparison.grids import (
        GridDifferences as GridDifferences,
        compare_stores as compare_stores,
    )
    from orchestrator.report.comparison.text import print_against as print_against
    from orchestrator.report.contents import GridContents as GridContents, read_grid as read_grid
    from orchestrator.report.writing import (
        export_charts as export_charts,
        print_found as print_found,
        write_report as write_report,
    )
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
