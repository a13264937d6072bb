"""The benchmarks by name."""

from collections.abc import Callable

from tests.bench.allocation import allocation
from tests.bench.arithmetic_paths import arithmetic_paths
from tests.bench.attack import attack
from tests.bench.audit import audit
from tests.bench.commands import commands
from tests.bench.compiling import compiling
from tests.bench.loading import loader
from tests.bench.makespan import makespan
from tests.bench.measure import Comparison, Effort
from tests.bench.method_epoch import method_epoch
from tests.bench.node_overhead import node_overhead
from tests.bench.one_shot import one_shot
from tests.bench.pace import pace
from tests.bench.planning import planning
from tests.bench.reference_loop import reference_loop
from tests.bench.reporting import reporting
from tests.bench.resume import resume
from tests.bench.sharing import sharing
from tests.bench.slots import slots
from tests.bench.stacked import stacked
from tests.bench.step_profile import step_profile
from tests.bench.training_step import training_step

BENCHMARKS: dict[str, Callable[[Effort], list[Comparison]]] = {
    "training_step": training_step,
    "arithmetic_paths": arithmetic_paths,
    "compiling": compiling,
    "step_profile": step_profile,
    "allocation": allocation,
    "slots": slots,
    "stacked": stacked,
    "reference_loop": reference_loop,
    "method_epoch": method_epoch,
    "one_shot": one_shot,
    "sharing": sharing,
    "pace": pace,
    "loader": loader,
    "attack": attack,
    "audit": audit,
    "planning": planning,
    "commands": commands,
    "reporting": reporting,
    "node_overhead": node_overhead,
    "resume": resume,
    "makespan": makespan,
}
