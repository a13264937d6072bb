"""From a grid to its nodes: a pure function. The same grid gives the same keys on every machine."""

import gc
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from core.data import LIST, rows_of
from core.sources import method_source, sources_of
from core.unlearn import METHODS, Space
from orchestrator.plan.audit_nodes import CLASS_WISE, audit_node, shadow_inputs, shadow_trial
from orchestrator.plan.trial_nodes import AXES, Search, evaluation, export_evaluation
from orchestrator.spec import GridSpec, base_name, hook_label, inapplicable, node_params, titles
from tasks import Kind, Node, make_node


class Cell(NamedTuple):
    """Coordinates of one entry of the comparison: a method (its label) on a problem, at one seed."""

    dataset: str
    arch: str
    quant: str
    scenario: str
    amount: float
    seed: int
    method: str

    @property
    def problem(self) -> "Cell":
        """The same coordinates for Retrain, which every method is compared with."""
        return self._replace(method="retrain")


@dataclass(frozen=True)
class Plan:
    """nodes by key, parents before children; for each cell the node that holds its figures.

    A method's cell is held by its select node, Retrain's by an evaluate node, and so is the original's.
    hooked: like originals, for those whose training a method took part in; their `method` is original and the
    setting, such as original:mnemonic.
    left_out: methods of the grid that cannot forget what a problem asks for, with the reason in one line.
    audits: the audit of each audited cell, the original's too. unaudited: problems without one, with the reason.
    searches: the select node that reads each search node. What a search comes to is not in the plan before it
    has, see `orchestrator.plan.expansion`.
    spaces: what is searched, by method's label and network.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    cells: dict[Cell, str] = field(default_factory=dict)
    originals: dict[Cell, str] = field(default_factory=dict)
    hooked: dict[Cell, str] = field(default_factory=dict)
    left_out: dict[Cell, str] = field(default_factory=dict)
    audits: dict[Cell, str] = field(default_factory=dict)
    unaudited: dict[Cell, str] = field(default_factory=dict)
    searches: dict[str, str] = field(default_factory=dict)
    spaces: dict[tuple[str, str], Space] = field(default_factory=dict)

    @property
    def omissions(self) -> list[str]:
        """A line for each reason for which methods have no cell or problems no audit, with their names."""
        found: dict[str, dict[str, None]] = {}
        for cell, why in self.left_out.items():
            found.setdefault(why, {})[cell.method] = None
        for cell, why in self.unaudited.items():
            found.setdefault(why, {})[f"audit of {titles.scenario(cell.scenario, cell.amount)}"] = None
        return [f"{', '.join(names)} left out: {why}" for why, names in found.items()]

    def counts(self) -> dict[str, int]:
        """Number of nodes of each kind."""
        return dict(Counter(node.kind for node in self.nodes.values()))

    def evaluations(self, select: Node) -> list[Node]:
        """The evaluations of trials that a selection reads: of a search, those that it has come to."""
        others = (self.nodes[key] for key in select.parents[1:])
        return [node for node in others if node.kind == "evaluate"]

    def trials(self, select: Node) -> int:
        """How many trials a selection chooses among, also where its search has yet to come to them."""
        other = self.nodes[select.parents[1]]
        return other.inputs["trials"] if other.kind == "search" else len(select.parents) - 1

    def children(self) -> dict[str, list[str]]:
        """Keys of the nodes that read each node."""
        found: dict[str, list[str]] = {key: [] for key in self.nodes}
        for node in self.nodes.values():
            for parent in dict.fromkeys(node.parents):
                found[parent].append(node.key)
        return found


def make_plan(spec: GridSpec) -> Plan:
    """All nodes of a grid. Originals and retrains are shared by every cell that needs them."""
    with _uncollected():
        return _plan(spec)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: a plan is many small objects that stay and make no cycles.

    Looking through them again and again took a fifth of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


# a method's hyper-parameters before the search, and which of them are fixed
_Given = tuple[dict[str, Any], frozenset[str]]


def _plan(spec: GridSpec) -> Plan:
    plan = Plan()

    @cache
    def settings(label: str, dataset: str) -> _Given:
        return spec.method_params(label, dataset, {}), spec.fixed(label)

    for dataset, arch, seed in itertools.product(spec.datasets, spec.archs, spec.seeds):
        for quant in spec.quant_specs(arch):
            builder = _Builder(spec, settings, plan, dataset, arch, quant.label, seed)
            for forgotten in _forgotten(spec, dataset):
                builder.add_problem(forgotten)
                if spec.export.evaluate:
                    builder.add_exports(forgotten)
            if seed in spec.audited_seeds:
                for forgotten in _forgotten(spec, dataset):
                    builder.add_audit(forgotten)
    return plan


def _forgotten(spec: GridSpec, dataset: str) -> list[dict[str, Any]]:
    """What each problem of a data set forgets, as inputs of its nodes."""
    random = [{"scenario": "random", "amount": ratio} for ratio in spec.ratios]
    whole = [{"scenario": "class", "amount": float(label)} for label in spec.classes]
    return random + whole + [_by_list(name, rows) for name, rows in spec.forget.rows(dataset).items()]


def _by_list(name: str, rows: str) -> dict[str, Any]:
    return {"scenario": f"{LIST}{name}", "amount": float(len(rows_of(rows))), "listed": rows}


def data_node(spec: GridSpec, dataset: str) -> Node:
    """The node that reads a data set: which images, by digest where a name does not say it, and how many of them."""
    content = spec.data.digests.get(dataset)
    images = {"dataset": dataset, "limit": _limit(spec), **_carved(spec)}
    images |= sources_of({"dataset": dataset})
    return make_node("data", (), images | ({"content": content} if content else {}))


def _listed(base: dict[str, Any]) -> dict[str, Any]:
    """The rows of a list, which all of its originals are trained on."""
    return {"listed": base["listed"]} if "listed" in base else {}


def _unnamed(scenario: str) -> str:
    """A scenario as keys have it: what a list is called is in none."""
    return LIST if scenario.startswith(LIST) else scenario


def _limit(spec: GridSpec) -> dict[str, Any] | None:
    return spec.data.limit.model_dump() if spec.data.limit else None


def _carved(spec: GridSpec) -> dict[str, Any]:
    return {} if spec.data.test_share is None else {"test_share": spec.data.test_share}


class _Builder:
    """Adds the nodes of one dataset × network × quantization × seed to a plan.

    settings: what is given of a method, by its label and the data set. shadow: inputs of a shadow of an audit, whose
    nodes these then are.
    """

    def __init__(
        self,
        spec: GridSpec,
        settings: Callable[[str, str], _Given],
        plan: Plan,
        dataset: str,
        arch: str,
        quant: str,
        seed: int,
        shadow: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.spec, self.settings, self.plan = spec, settings, plan
        self.data = self._keep(data_node(spec, dataset))
        self.base: dict[str, Any] = {
            "dataset": dataset,
            "limit": _limit(spec),
            **_carved(spec),
            "arch": arch,
            "quant": quant,
            "width": spec.width(arch),
            "augment": spec.data.augment,
            "seed": seed,
            "validation": spec.validation,
            **sources_of({"dataset": dataset, "arch": arch, "quant": quant}),
            **shadow,
        }
        training: dict[str, Any] = {
            "method": "original",
            "params": node_params(spec.original_params()),
        }
        if spec.splits == "mismatched":  # published: the original's pool is another seed's (ALGORITHMS 1)
            training["split_seed"] = (seed + 1) % 2**32
        file = spec.weights.get(arch)
        self.pretrained = {"weights": file.sha256} if file else {}
        self.training = training | self.pretrained

    def add_problem(self, forgotten: dict[str, Any]) -> None:
        """Retrain, every method's trials, their evaluations and selections, for one forget set."""
        base = self.base | forgotten
        plain = self._plain_original(base)
        reference = self._keep(evaluation(self._retrain(base)))
        at = Cell(**{name: base[name] for name in Cell._fields[:-1]}, method="retrain")
        if "retrain" in self.spec.methods:
            self.plan.cells[at] = reference.key
        # The original, seen through this problem's forget set, shows what there is to forget.
        original = self._keep(evaluation(plain, base | {"method": "original", "params": None}))
        self.plan.originals[at] = original.key
        for label in self.spec.methods:
            why = inapplicable(label, base["scenario"])
            if why:
                self.plan.left_out[at._replace(method=label)] = why
            elif label != "retrain":
                self.plan.cells[at._replace(method=label)] = self._search(label, base, reference).key

    def add_exports(self, forgotten: dict[str, Any]) -> None:
        """For each cell of a problem, an evaluation of its network as it is exported."""
        base = self.base | forgotten
        for label in self.spec.methods:
            cell = Cell(**{axis: base[axis] for axis in Cell._fields[:-1]}, method=label)
            if cell in self.plan.cells:
                self._keep(export_evaluation(base, label, self.plan.cells[cell]))

    def _retrain(self, base: dict[str, Any]) -> Node:
        training = self._method("retrain", node_params(self.spec.retrain_params()))
        return self._add("retrain", (self.data.key,), base | training | self.pretrained)

    def add_audit(self, forgotten: dict[str, Any]) -> None:
        """The shadows of one problem, and an audit of the original and of every method."""
        base = self.base | forgotten
        at = Cell(**{axis: base[axis] for axis in Cell._fields[:-1]}, method="retrain")
        if base["scenario"] == "class":
            self.plan.unaudited[at] = CLASS_WISE
            return
        shadows = [
            _Builder(
                self.spec, self.settings, self.plan, base["dataset"], base["arch"], base["quant"], base["seed"],
                shadow_inputs(base["amount"], number),
            )
            for number in range(self.spec.audit.models - 1)
        ]  # fmt: skip
        retrains = [shadow._retrain(shadow.base | forgotten) for shadow in shadows]
        unlearned = {titles.ORIGINAL: [shadow._plain_original(base).key for shadow in shadows]}
        for label in (label for label in self.spec.methods if at._replace(method=label) in self.plan.cells):
            if label != "retrain":
                select = self.plan.cells[at._replace(method=label)]
                unlearned[label] = [shadow._unlearn(label, forgotten, select) for shadow in shadows]
        retrain = self._retrain(base).key
        for label, models in unlearned.items():
            own = self._audited_models(label, base, retrain)
            pairs = list(zip((node.key for node in retrains), models, strict=True))
            node = self._keep(audit_node(base, label, own, pairs, self.spec.audit_attacks))
            self.plan.audits[at._replace(method=label)] = node.key

    def _audited_models(self, label: str, base: dict[str, Any], retrain: str) -> tuple[str, str, str]:
        """What holds the model that is audited, its original, and Retrain."""
        if label == titles.ORIGINAL:
            original = self._plain_original(base).key
            return original, original, retrain
        params, _ = self.settings(label, base["dataset"])
        cell = Cell(**{axis: base[axis] for axis in Cell._fields[:-1]}, method=label)
        return self.plan.cells[cell], self._original(base_name(label), params, base).key, retrain

    def _unlearn(self, label: str, forgotten: dict[str, Any], select: str) -> str:
        """The trial of a method on this shadow's original, with what the cell's selection chooses."""
        base = self.base | forgotten
        params, _ = self.settings(label, base["dataset"])
        original = self._original(base_name(label), params, base)
        return self._keep(shadow_trial(base, label, params, self.data.key, original.key, select)).key

    def _search(self, label: str, base: dict[str, Any], reference: Node) -> Node:
        """The trials of one cell and the node that chooses among them."""
        spec = self.spec
        params, fixed = self.settings(label, base["dataset"])
        original = self._original(base_name(label), params, base)
        space = self._space(label, base["arch"])
        search = Search(base, label, params, space, fixed, self.data.key, original.key)
        coordinates: dict[str, Any] = {axis: base[axis] for axis in AXES}
        choice = {"method": label, "select_on": spec.selects_on, "protocol": spec.protocol}
        if search.adapts(spec.search):
            node = self._keep(search.node(reference.key, spec.search, spec.selects_on))
            choice["search"] = spec.search.mode
            select = self._keep(make_node("select", (reference.key, node.key), coordinates | choice))
            self.plan.searches[node.key] = select.key
            return select
        evaluations = []
        for point in search.points(spec.search.trials):
            trial, measured = search.nodes(point)
            self._keep(trial)
            evaluations.append(self._keep(measured).key)
        parents = (reference.key, *dict.fromkeys(evaluations))
        return self._keep(make_node("select", parents, coordinates | choice))

    def _plain_original(self, base: dict[str, Any]) -> Node:
        """The original in whose training no method took part; of a list one that was trained on all that it names."""
        return self._add("original", (self.data.key,), self.base | self.training | _listed(base))

    def _space(self, label: str, arch: str) -> Space:
        """What is searched, kept in the plan."""
        if (label, arch) not in self.plan.spaces:
            self.plan.spaces[label, arch] = self.spec.space(label, arch)
        return self.plan.spaces[label, arch]

    def _original(self, name: str, params: dict[str, Any], base: dict[str, Any]) -> Node:
        """The original that a method changes: the plain one, or one whose training the method took part in.

        There is one for each setting of the method's hook, and for each forget set only if the hook must know it.
        """
        method = METHODS[name]
        if method.hook is None:
            return self._plain_original(base)
        setting = dict(method.hook.setting(method.params(**params)))
        hook: dict[str, Any] = {"method": name, "revision": method.revision, "setting": setting}
        hook |= method_source(name)
        if method.hook.knows_forget:
            hook["forget"] = {"scenario": _unnamed(base["scenario"]), "amount": base["amount"]}
        label = f"original:{hook_label(method, setting)}"
        inputs = self.base | self.training | _listed(base) | {"hook": hook}
        original = self._keep(make_node("original", (self.data.key,), inputs, label))
        if "shadow" in base:
            return original
        measured = self._keep(evaluation(original, base | {"method": label, "params": None}))
        at = Cell(**{axis: base[axis] for axis in Cell._fields[:-1]}, method=label)
        self.plan.hooked[at] = measured.key
        return original

    @staticmethod
    def _method(name: str, params: dict[str, Any]) -> dict[str, Any]:
        return {"method": name, "method_revision": METHODS[name].revision, "params": params}

    def _add(self, kind: Kind, parents: tuple[str, ...], inputs: dict[str, Any]) -> Node:
        return self._keep(make_node(kind, parents, inputs))

    def _keep(self, node: Node) -> Node:
        return self.plan.nodes.setdefault(node.key, node)
