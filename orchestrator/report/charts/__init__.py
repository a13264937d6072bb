"""The charts of the report: Vega-Lite specifications made with Altair, and the rows that they show.

A specification names its data sets and holds no rows, so that one serves every problem of a grid.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.report.charts.catalogue import charts as charts, spec_of as spec_of
    from orchestrator.report.charts.files import write_charts as write_charts
    from orchestrator.report.charts.overview import overview_chart as overview_chart
    from orchestrator.report.charts.page import make_charts as make_charts, scripts as scripts
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
