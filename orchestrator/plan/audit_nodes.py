"""The nodes of an audit: shadows, which are originals, Retrains and trials of other pools, and what is made of them.

Shadow k of a problem is drawn from the problem and its number alone (`core.data.shadow_split`), so that an audit by
more models takes over those of an earlier one, and the problem's own models count as the first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from core.sources import method_source
from core.unlearn import METHODS
from orchestrator.plan.trial_nodes import AXES
from orchestrator.spec import base_name
from tasks import Node, make_node

CLASS_WISE = (
    "a class that is forgotten whole is inside every model or none, so no attack has both to compare; "
    "set ratios=… for an audit"
)


def shadow_inputs(amount: float, number: int) -> dict[str, Any]:
    """What makes a node's inputs those of a shadow."""
    return {"shadow": {"number": number, "amount": amount}}


def shadow_trial(
    base: Mapping[str, Any], label: str, params: Mapping[str, Any], data: str, original: str, select: str
) -> Node:
    """A method on a shadow original, with the hyper-parameters that its cell's selection chooses.

    params: with those to search at their defaults; they only say what it will cost.
    """
    method = base_name(label)
    inputs = {
        **base,
        "method": method,
        "method_revision": METHODS[method].revision,
        **method_source(method),
        "params": dict(params),
    }
    return make_node("trial", (data, original, select), inputs, label)


def audit_node(
    base: Mapping[str, Any],
    label: str,
    own: tuple[str, str, str],
    shadows: Sequence[tuple[str, str]],
    attacks: Sequence[str],
) -> Node:
    """own: the selection (or the original), original and Retrain. shadows: the Retrain and unlearned model of each."""
    inputs = {
        **{axis: base[axis] for axis in (*AXES, "listed") if axis in base},
        "validation": base["validation"],
        "method": label,
        "attacks": list(attacks),
    }
    parents = (*own, *(key for pair in shadows for key in pair))
    return make_node("audit", parents, inputs, label)
