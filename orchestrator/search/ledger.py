"""The ledger of a search that decides as it goes: what it came to, as a file of its node.

Every trial with the epochs at which it was looked at, and which trials were run to their end.
"""

from collections.abc import Sequence

from orchestrator.plan import Ledger, Search, parts
from tasks import Candidate, Job, Node, Place, Record
from tasks.nodes import base_record, now
from tasks.store import Store


def finish(store: Store, node: Node, place: Place, ledger: Ledger, seen: Sequence[Candidate]) -> Record:
    """Commits a search that has ended; its row, which is that of a failure if no trial came to its end."""
    search, record = Search.of(node), base_record(Job(node, place))
    measured = {candidate.evaluation for candidate in seen}
    last = [parts(search, point, looks)[-1][1].key for point, looks in ledger if search.whole(looks[-1])]
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
        if not search.whole(looks[-1]):
            store.remove(store.partial(search.nodes(point)[0].key))
