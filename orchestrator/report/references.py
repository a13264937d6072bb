"""Whether a problem's Retrain is a reference: one at chance level, or of such an original, is refused."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from core.data import dataset_info
from orchestrator.plan import Cell, Plan
from orchestrator.results import Entry, Row
from orchestrator.spec import base_name, titles
from tasks.store import Store

LEVEL = 0.05  # of the one-sided binomial test
_WHO = {titles.ORIGINAL: "the original", "retrain": "Retrain"}


def class_counts(plan: Plan, store: Store | None = None) -> dict[str, int]:
    """Classes by data set; of one that nobody knows before it is read, what its data node wrote down."""
    names = {node.inputs["dataset"]: node.key for node in plan.nodes.values() if node.kind == "data"}
    found = {name: dataset_info(name).classes for name in names}
    unknown = {names[name]: name for name, classes in found.items() if not classes}
    if store is not None and unknown:
        manifests = store.manifests(unknown, broken={})
        found |= {unknown[key]: int(manifest.facts["classes"]) for key, manifest in manifests.items()}
    return found


def with_refusals(entries: Sequence[Entry], classes: Mapping[str, int]) -> list[Entry]:
    """The entries, with the reason beside all of a problem, at every seed, whose Retrain or original is at chance."""
    reasons: dict[Cell, str] = {}
    for entry in entries:
        if base_name(entry.cell.method) in _WHO and entry.row:
            why = refusal(entry, entry.row, classes.get(entry.cell.dataset, 0))
            if why:
                reasons.setdefault(_problem(entry.cell), why)
    return [replace(entry, refused=reasons.get(_problem(entry.cell), "")) for entry in entries]


def refusal(entry: Entry, row: Row, classes: int) -> str:
    """Why a Retrain or original is no reference: its test accuracy could be guessing. Nothing if it could not.

    The exact binomial test of the right answers on test images, which in class-wise forgetting leave out the forgotten
    class, against one in the number of their classes.
    """
    among, images = classes - (entry.cell.scenario == "class"), row["test_count"]
    if among < 2 or not images or row["ta"] is None:
        return ""
    right = round(row["ta"] * images / 100)
    chance = _at_least(right, images, 1 / among)
    if chance < LEVEL:
        return ""
    return (
        f"{_WHO[base_name(entry.cell.method)]} of seed {entry.cell.seed} is at chance level: {right:,} of"
        f" {images:,} test images right ({row['ta']:.1f} %), guessing among {among} classes gives"
        f" {100 / among:.1f} % (binomial test, p = {chance:.2g})"
    )


def _at_least(right: int, images: int, share: float) -> float:
    """The probability of so many right answers, or more, by guessing."""
    from scipy.special import bdtrc

    return float(bdtrc(right - 1, images, share)) if right else 1.0


def refused_of(entries: Iterable[Entry]) -> str:
    """The reason for which a problem's Retrain is no reference; nothing where it is one."""
    return next((entry.refused for entry in entries if entry.refused), "")


def _problem(cell: Cell) -> Cell:
    return cell._replace(seed=0, method="")
