"""Searches that decide as they go: what one came to as a file of its node, and that in the plan again.

A search node's manifest holds the ledger: every trial with the epochs at which it was looked at, and which
trials were run to their end. From it, `expand` puts the same trials into a plan that a later command makes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from orchestrator.plan import Plan
from orchestrator.search import Point, room_at, rungs
from orchestrator.trials import Search
from tasks.job import Job, Place
from tasks.node import Node
from tasks.provenance import base_record, now
from tasks.record import Candidate, Record
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
        found.append(search.nodes(point, None if _whole(search, epochs) else epochs, before))
        before = epochs
    return found


def finish(store: Store, node: Node, place: Place, ledger: Ledger, seen: Sequence[Candidate]) -> Record:
    """Commits a search that has ended; its row, which is that of a failure if no trial came to its end."""
    search, record = Search.of(node), base_record(Job(node, place))
    measured = {candidate.evaluation for candidate in seen}
    last = [parts(search, point, looks)[-1][1].key for point, looks in ledger if _whole(search, looks[-1])]
    finalists = [key for key in dict.fromkeys(last) if key in measured]
    if not finalists:
        failure = {"status": "failed", "error_kind": "system", "error_message": "every trial failed"}
        record = record.model_copy(update=failure | {"log": f"logs/{node.key}.log"})
        store.note_failure(record, "every trial failed; their own logs say why")
        return record
    found = {"candidates": list(seen), "epochs": sum(looks[-1] for _, looks in ledger), "finished_at": now()}
    record = record.model_copy(update=found)
    trials = [{"point": point, "looks": looks} for point, looks in ledger]
    store.commit(node, {}, {"trials": trials, "finalists": finalists}, record)
    return record


def drop_states(store: Store, node: Node, ledger: Ledger) -> None:
    """Removes what trials that were not run to their end had left to go on from."""
    search = Search.of(node)
    for point, looks in ledger:
        if not _whole(search, looks[-1]):
            store.remove(store.partial(search.nodes(point)[0].key))


def _whole(search: Search, epochs: int) -> bool:
    return epochs == (search.epochs or 0)


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
