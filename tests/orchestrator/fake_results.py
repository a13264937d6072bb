"""Stores filled by hand: every node of a plan with plausible figures, without any training."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

from core.metrics.gap import FIGURES, average_gap
from orchestrator.plan.grid_plan import Plan, make_plan
from orchestrator.spec.specification import GridSpec, SearchSpec
from tasks.node import Node
from tasks.record import Candidate, EpochFact, Record, figure_fields
from tasks.store.store import Store

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
COORDINATES = (
    "dataset", "arch", "quant", "scenario", "amount", "method", "seed", "protocol", "select_on", "tried",
)  # fmt: skip


NORMS = ("forget_gradient_norm", "retain_gradient_norm")
MEASURED = {"rl": NORMS, "salun": NORMS, "qmul": (*NORMS, "w_forget", "w_retain")}


SHARDED = {"affected_shards": 3.0, "first_slice": 1.0, "networks": 5.0, "retrained_share": 0.4}
REQUESTS = {
    "sisa": SHARDED,
    "arcane": SHARDED
    | {"affected_shards": 0.0, "first_slice": 2.0, "networks": 10.0, "retrained_share": 0.0},
    "certified": {"head_certificate_bound": 0.25, "head_certificate_epsilon": 1.1},
}


def told(node: Node) -> dict[str, float]:
    """What a method tells once: amnesiac unlearning at which shares it recorded how much; what a request came to."""
    method = node.inputs["method"].partition(":")[0]
    if method != "amnesiac":
        return REQUESTS.get(method, {})
    params = node.inputs["params"]
    found = max(params["affected"] or 1.0, 0.1)
    return {"affected_share": found, "recorded_bytes": 2e8 * found * params["fraction"]}


def small_spec(**changes):
    values = {"recipe": "small", "datasets": ("cifar10",), "archs": ("resnet18",)}
    values |= {} if "classes" in changes else {"ratios": (0.1,)}
    values |= {"methods": ("retrain", "ft", "salun", "qmul"), "search": SearchSpec(trials=3)}
    return GridSpec(**(values | changes))


def share(key: str, name: str) -> float:
    """A number in 0..1 that depends on key and name alone."""
    return int(hashlib.sha256(f"{key}{name}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def figures(node: Node, method: str) -> dict[str, float]:
    base = {"fa": 93.38, "ra": 99.98, "ta": 92.64, "mia": 13.36}
    if method == "original":
        base |= {"fa": 99.9, "mia": 2.1}
    spread = {"retrain": 0.4, "original": 0.1, "qmul": 2.0, "salun": 3.0}.get(method, 8.0)
    values = {name: base[name] - spread * share(node.key, name) for name in FIGURES}
    return values | {"va": values["ta"] + 0.3, "mia_validation": values["mia"] + 0.2}


def attack(node: Node) -> dict[str, float]:
    """What metrics say that have no field of their own in a row."""
    values = {"mia_auc": 50 + 5 * share(node.key, "auc"), "mia_tpr": 1 + 3 * share(node.key, "tpr")}
    ends = {
        f"{name}_{end}": value + by
        for name, value in values.items()
        for end, by in (("low", -1), ("high", 1))
    }
    return values | ends | {"mia_separation": 75.0, "mia_swing": share(node.key, "swing")}


class Fake:
    """Commits the nodes of a plan in its order, except those that are to fail or to be left out."""

    def __init__(
        self,
        store: Store | None,
        spec: GridSpec,
        plan: Plan | None = None,
        curve: int = 3,
        scored: bool = True,
    ) -> None:
        """store: None for rows alone, ten times as fast."""
        self.store, self.spec, self.plan, self.curve = store, spec, plan or make_plan(spec), curve
        self.scored = scored
        self.rows: dict[str, Record] = {}

    def fill(self, fail=lambda node: False, skip=lambda node: False) -> list[Record]:
        """Records in the order in which they happened; what needs a node that failed or is missing is missing."""
        for number, node in enumerate(self.plan.nodes.values()):
            if skip(node) or not self._ready(node):
                continue
            record = self._failed(node) if fail(node) else self.record(node, number)
            self.rows[node.key] = record
            if self.store is not None:
                self._keep(node, record)
        return list(self.rows.values())

    def _keep(self, node: Node, record: Record) -> None:
        if record.status == "done":
            self.store.commit(node, {}, self._facts(node), record)
        else:
            self.store.note_failure(record, "Traceback\n  <model>\nDiverged: loss is nan\n")

    def _done(self, key: str) -> bool:
        return key in self.rows and self.rows[key].status == "done"

    def _ready(self, node: Node) -> bool:
        if node.kind == "select":
            seen = (self._done(e) or self._gone(e) for e in node.parents[1:])
            return self._done(node.parents[0]) and all(seen) and any(map(self._done, node.parents[1:]))
        return all(map(self._done, node.parents))

    def _gone(self, evaluation: str) -> bool:
        trial = self.plan.nodes[evaluation].parents[0]
        return trial in self.rows and self.rows[trial].status == "failed"

    def _failed(self, node: Node) -> Record:
        changes = {"status": "failed", "error_kind": "numeric", "log": f"logs/{node.key}.log"}
        return self._base(node).model_copy(
            update=changes | {"error_message": "loss is nan in epoch 2 <b>|</b>"}
        )

    @staticmethod
    def _base(node: Node) -> Record:
        given = {name: node.inputs[name] for name in COORDINATES if name in node.inputs}
        params = node.inputs.get("params")
        return Record(
            key=node.key,
            kind=node.kind,
            params=json.dumps(params, sort_keys=True) if params else None,
            code_revision="abc1234",
            hardware="NVIDIA H200",
            versions="torch 2.13.0",
            **given,
        )

    def record(self, node: Node, number: int = 0) -> Record:
        extra = {"finished_at": START + timedelta(seconds=number), "node_seconds": 1.5}
        extra |= getattr(self, f"_{node.kind}", lambda node: {})(node)
        return self._base(node).model_copy(update=extra)

    @staticmethod
    def _facts(node: Node) -> dict:
        return {"digest": node.key, "classes": 10} if node.kind == "data" else {}

    def _data(self, node: Node) -> dict:
        return {"retain_count": 50000, "test_count": 10000}

    def _model(self, node: Node) -> dict:
        names = ("loss", "lr", "retain_accuracy", *MEASURED.get(node.inputs["method"], ()))
        facts = [
            EpochFact(epoch=e, name=n, value=share(node.key, f"{n}{e}"))
            for e in range(self.curve)
            for n in names
        ]
        return {"seconds": 10 + 300 * share(node.key, "s"), "curve": facts}

    _original = _retrain = _model

    def _trial(self, node: Node) -> dict:
        changed = {"flip_rate": share(node.key, "f"), "step_drift": share(node.key, "d") / 10}
        model = self._model(node)
        once = [EpochFact(epoch=0, name=name, value=value) for name, value in told(node).items()]
        return model | changed | {"curve": [*model["curve"], *once]}

    def _evaluate(self, node: Node) -> dict:
        parent = self.rows[node.parents[0]]
        shared = {name: getattr(parent, name) for name in ("params", "seconds", "flip_rate", "step_drift")}
        counts = {"forget_count": 4500, "retain_count": 40500, "test_count": 10000, "model": parent.key}
        scores = figure_fields(attack(node) if self.scored else {})
        return figures(node, node.inputs["method"]) | shared | counts | scores

    def _select(self, node: Node) -> dict:
        reference = self.rows[node.parents[0]].model_dump()
        found = [self.rows[e] for e in node.parents[1:] if self._done(e)]
        gaps = [(average_gap(r.model_dump(), reference), r) for r in found]
        best, chosen = min(gaps, key=lambda pair: pair[0])
        names = (
            *FIGURES,
            "va",
            "mia_validation",
            "params",
            "tried",
            "seconds",
            "flip_rate",
            "step_drift",
            "model",
            "scores",
        )
        row = {n: getattr(chosen, n) for n in (*names, "forget_count", "retain_count", "test_count")}
        candidates = [Candidate(evaluation=r.key, ag=ag, ag_validation=ag + 0.1) for ag, r in gaps]
        verdict = {
            "ag": best,
            "ag_validation": best + 0.1,
            "selected": chosen.key,
            "reference": node.parents[0],
        }
        return row | verdict | {"candidates": candidates}
