"""From a grid's specification to its comparison: spec, plan, run, results, report, with a command line in front.

Its rooms, each of which may use those before it: `spec`, `environment`, `plan`, `search` and `results`, `run`,
`tracking` and `report`, `cli`. `grid` is the command.
"""

from typing import TYPE_CHECKING

from orchestrator.interpreter import packages_are_there

with packages_are_there():
    from core.door import door

if TYPE_CHECKING:
    from orchestrator.results import load_model as load_model, load_results as load_results
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
