"""What a plan costs: paces of hardware, memory, expected seconds of a node, and hours on any number of workers.

Reads measurements; what it lacks of this machine a process of its own measures.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from orchestrator.plan.costs.compiling import compiled_archs as compiled_archs
    from orchestrator.plan.costs.estimate import CostModel as CostModel
    from orchestrator.plan.costs.paces import (
        Device as Device,
        Pace as Pace,
        named_pace as named_pace,
        pace_of as pace_of,
    )
    from orchestrator.plan.costs.scaling import forecast as forecast, forecast_rows as forecast_rows
    from orchestrator.plan.costs.this_machine import pace_here as pace_here
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
