"""What searches that decide as they go add to a plan: the trials that their ledgers name.

From the ledger in a search node's manifest, `expand` puts the same trials into a plan that a later command makes;
`orchestrator.search` writes it.
"""

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.plan.grid_plan import Plan
from orchestrator.plan.search_points import Point, room_at, rungs
from orchestrator.plan.trial_nodes import Search
from tasks import Node
from tasks.store import Store

Ledger = list[tuple[Point, list[int]]]  # a trial, and the epochs after which it was looked at


def expand(plan: Plan, store: Store) -> Plan:
    """The plan with the trials of every search that the store holds finished; the same object."""
    for key, manifest in store.manifests(plan.searches, broken={}).items():
        widen(plan, plan.nodes[key], [(trial["point"], trial["looks"]) for trial in manifest.facts["trials"]])
    return plan


def widen(plan: Plan, node: Node, ledger: Ledger) -> None:
    """Puts a finished search's trials into the plan, and their evaluations among what its selection reads."""
    search = Search.of(node)
    evaluations = []
    for point, looks in ledger:
        for trial, measured in parts(search, point, looks):
            plan.nodes.setdefault(trial.key, trial)
            plan.nodes.setdefault(measured.key, measured)
            evaluations.append(measured.key)
    select = plan.nodes[plan.searches[node.key]]
    parents = dict.fromkeys((*select.parents[:2], *evaluations))
    plan.nodes[select.key] = replace(select, parents=tuple(parents))


def parts(search: Search, point: Point, looks: Iterable[int]) -> list[tuple[Node, Node]]:
    """A trial's parts, each with its evaluation; the last look of all, at the end, is the whole trial.

    A method without epochs has one look, 0.
    """
    found, before = [], 0
    for epochs in looks:
        found.append(search.nodes(point, None if search.whole(epochs) else epochs, before))
        before = epochs
    return found


def schedule(node: Node) -> list[int]:
    """The epochs after which a search node compares its trials."""
    i = node.inputs
    return rungs(i["params"].get("epochs", 0), i["first_epochs"], i["reduction"])


def expected(node: Node) -> list[tuple[int, int]]:
    """(parts, epochs of each) that a search is expected to run, rung by rung.

    What successive halving runs, to the letter; asha and optuna decide by what comes first, and may run more.
    """
    looks, i = schedule(node), node.inputs
    steps = [after - before for before, after in zip([0, *looks], looks, strict=False)]
    return [(room_at(i["trials"], rung, i["reduction"]), step) for rung, step in enumerate(steps)]
