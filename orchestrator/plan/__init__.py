"""From a grid to its nodes: cells, content-addressed keys, trials, and which nodes may run next.

`make_plan` is a pure function; `expand` adds what finished searches decided. Must not start, time or print anything.
What work costs is in `plan.costs`.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.plan.expansion import (
        Ledger as Ledger,
        expand as expand,
        expected as expected,
        parts as parts,
        schedule as schedule,
        widen as widen,
    )
    from orchestrator.plan.frontier import Frontier as Frontier, State as State
    from orchestrator.plan.grid_plan import Cell as Cell, Plan as Plan, make_plan as make_plan
    from orchestrator.plan.search_points import (
        GOLDEN as GOLDEN,
        Part as Part,
        Point as Point,
        halving as halving,
        point_of as point_of,
        rounded as rounded,
    )
    from orchestrator.plan.trial_nodes import Search as Search
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
