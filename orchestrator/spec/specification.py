"""The grid as a typed value: what to train, forget, measure, search and keep."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from core.data import dataset_info
from core.errors import BadInput, unknown
from core.metrics.audit import ATTACKS
from core.models import model_info
from core.quant import QuantSpec
from core.train import Precision
from core.unlearn import METHODS, RetrainParams, Space
from orchestrator.spec.class_names import class_numbers
from orchestrator.spec.fields import (
    AuditSpec,
    DataSpec,
    ExportSpec,
    LimitSpec,
    Names,
    Part,
    Ratios,
    ResourceSpec,
    SearchSpec,
    Seeds,
    Text,
    TrackingSpec,
    Whole,
    Wholes,
    listed,
    once,
)
from orchestrator.spec.forget_list import ForgetSpec
from orchestrator.spec.labels import (
    Protocol,
    Variant,
    base_name,
    parse_method,
    released_options,
    undone_ablation,
    worded,
)
from orchestrator.spec.pretrained import WeightsFile
from orchestrator.spec.printed_names import arch_name, dataset_name
from orchestrator.spec.ranges import check_ranges, space_of
from orchestrator.spec.validation import one_line, valid

__all__ = [
    "PAPER_METHODS",
    "AuditSpec",
    "DataSpec",
    "GridSpec",
    "LimitSpec",
    "ResourceSpec",
    "SearchSpec",
    "TrackingSpec",
    "node_params",
    "parse_spec",
]

# The comparison of the paper. What else is in METHODS (ablations, methods of your own) runs where it is named.
PAPER_METHODS = ("retrain", "ft", "ga", "iu", "rl", "l1_sparse", "salun", "qmul")
MOST_TRIALS = 1_000_000  # a hundred times the largest grid of the papers; a plan of as many takes minutes
ALL = "all"  # the key of `params` that stands for every method
SelectOn = Literal["validation", "test"]
SplitKind = Literal["one", "mismatched"]
Saw = Literal["unknown", "none"]


def _canonical(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Method labels as `parse_method` writes them, every one once."""
    return once(tuple(parse_method(label).label for label in labels))


def _of(name: Callable[[str], str]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Names of a registry, also where they are given as tables print them, every one once."""
    return lambda given: once(tuple(map(name, given)))


class GridSpec(Part):
    """A grid: datasets × archs × quantizers × (ratios, classes or lists) × methods × seeds.

    quantizers: labels such as 4w4a, 2w, fp; "paper" is each network's published setting, and under
    protocol=released that of the published code.
    ratios: shares of the pool forgotten at random. classes: classes forgotten whole, each a problem of its own. A class
    may be named, such as cat, where its data set's publisher names it. forget: lists of images to forget, each a
    problem of its own. A grid may have all three.
    methods: names from core.unlearn, the paper's eight unless set; with options a variant of a method, such
    as qmul:order=sequential (see `orchestrator.spec.labels`). retrain is the reference and always runs.
    protocol: paper (equations) or released (what the published code does where it differs).
    select_on: figures that choose a cell's trial. split: whether one seed draws the pool of the original and
    of the unlearning, or two, as published. None: by protocol, see `selects_on` and `splits`.
    precision: what trainings compute in whose own precision is auto. float32 is the same arithmetic on every machine;
    auto is bfloat16 on GPUs and on processors that are the faster for it, with forward passes on integer codes where
    they pay. It is in no key: a finished node stays what it is, and its row says what it was computed in.
    probe: images of each set on which methods measure gradient norms before every epoch; 0 measures nothing.
    keep: whose weights stay in the store.
    validation: share of the training images held out. widths: channel multiplier by network.
    weights: by network, the file of full-precision weights that its originals and Retrains start from, see
    `orchestrator.spec.pretrained`. Retrain is what it should be only if nobody trained that file on the forget set.
    weights_saw: by network, what its file saw of the forget sets, as the user declares it; unknown unless set, which
    every report says. It changes no result.
    original, retrain: their training. params: fixed hyper-parameters by method, or under "all" those of every
    method that has them; a fixed one is not searched.
    export: whether every cell's network is measured once more as an ONNX file.
    needs_gpu: a grid nobody should start on CPUs by accident.
    """

    recipe: Text = "custom"
    datasets: Annotated[Names, AfterValidator(_of(dataset_name))]
    archs: Annotated[Names, AfterValidator(_of(arch_name))]
    quantizers: Names = ("paper",)
    ratios: Ratios = ()
    classes: Wholes = ()
    forget: ForgetSpec = ForgetSpec()
    methods: Annotated[Names, AfterValidator(_canonical)] = PAPER_METHODS
    seeds: Annotated[Seeds, Field(min_length=1)] = (1,)
    protocol: Protocol = "paper"
    select_on: SelectOn | None = None
    split: SplitKind | None = None
    precision: Precision = "auto"
    probe: Whole = 0
    keep: Literal["selected", "all"] = "selected"
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    widths: dict[str, Annotated[float, Field(gt=0, le=100)]] = Field(default_factory=dict)
    weights: dict[str, WeightsFile] = Field(default_factory=dict)
    weights_saw: dict[str, Saw] = Field(default_factory=dict)
    original: dict[str, Any] = Field(default_factory=dict)
    retrain: dict[str, Any] = Field(default_factory=dict)
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    data: DataSpec = DataSpec()
    search: SearchSpec = SearchSpec()
    audit: AuditSpec = AuditSpec()
    export: ExportSpec = ExportSpec()
    tracking: TrackingSpec = TrackingSpec()
    resources: ResourceSpec = ResourceSpec()
    needs_gpu: bool = False

    @property
    def selects_on(self) -> SelectOn:
        """The figures that choose a trial: validation, under protocol=released test."""
        return self.select_on or ("test" if self.protocol == "released" else "validation")

    @property
    def splits(self) -> SplitKind:
        """Whether one split serves the whole problem, or, under protocol=released, a second one the original."""
        return self.split or ("mismatched" if self.protocol == "released" else "one")

    @model_validator(mode="before")
    @classmethod
    def _number_classes(cls, values: Any) -> Any:
        """Classes that are given by name, `cat`, have the number of that name from here on."""
        if not isinstance(values, dict) or not values.get("classes"):
            return values
        classes, datasets = listed(values["classes"]), listed(values.get("datasets", ()))
        if not isinstance(classes, tuple | list) or not isinstance(datasets, tuple | list):
            return values
        return values | {"classes": class_numbers(classes, [dataset_name(str(name)) for name in datasets])}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Every name is in its registry, every class in its data set, every parameter in its method."""
        for dataset in self.datasets:
            dataset_info(dataset)
        for arch in (*self.archs, *self.widths):
            if not model_info(arch).scales and self.width(arch) != 1:
                raise BadInput(f"widths.{arch}={self.width(arch):g}: it comes in one width; leave it out")
        for arch in self.weights:
            if arch not in self.archs:
                raise BadInput(f"weights.{arch}: {unknown('network of this grid', arch, self.archs)}")
        for arch in self.weights_saw:
            if arch not in self.weights:
                raise BadInput(
                    f"weights_saw.{arch}: {arch} starts from no file; name it with weights.{arch}=…"
                )
        for name in self.params:
            if name != ALL and name not in METHODS:
                raise unknown("method", name, (ALL, *METHODS.names()))
        for arch in self.archs:
            for quant in self.quant_specs(arch):
                quant.check()
        self._check_scenarios()
        self._check_size()
        self._check_split()
        self._check_params()
        self._check_ranges()
        self._check_audit()
        return self

    def _check_scenarios(self) -> None:
        if not self.ratios and not self.classes and not self.forget.list:
            raise BadInput(
                "nothing to forget: set ratios (such as 0.1), classes (such as 0) or forget.list (a file of images)"
            )
        for dataset in self.datasets:
            last = dataset_info(dataset).classes - 1  # -1: nobody knows before the data are read
            for label in self.classes:
                if label > last >= 0:
                    raise BadInput(
                        f"classes: {dataset} has no class {label} (valid: 0-{last}; nearest: {last})"
                    )

    def _check_size(self) -> None:
        """Before anybody plans for minutes what nobody can run."""
        axes = (
            self.datasets,
            self.archs,
            self.quantizers,
            self.ratios or self.classes or self.forget.list,
            self.methods,
            self.seeds,
        )
        trials = math.prod(map(len, axes)) * self.search.trials
        if trials > MOST_TRIALS:
            raise BadInput(
                f"the grid has {trials:,} trials, at most {MOST_TRIALS:,} can be planned: "
                f"search.trials={self.search.trials} × {len(self.seeds)} seeds × {len(self.methods)} methods × …"
            )

    def _check_split(self) -> None:
        if self.splits == "mismatched":
            mismatched = "split=mismatched" if self.split else "split=mismatched (protocol=released)"
            if self.validation == 0:
                raise BadInput(
                    f"{mismatched} contradicts validation=0: without a held-out share there is one pool; "
                    "set validation=0.1 or split=one"
                )
            if self.selects_on == "validation":
                raise BadInput(
                    f"{mismatched} contradicts select_on=validation: the original trained on most of those "
                    "images; set select_on=test or split=one"
                )
        if self.validation == 0 and self.selects_on == "validation":
            raise BadInput(
                "validation=0 contradicts select_on=validation; hold images out, or set select_on=test"
            )

    def _check_audit(self) -> None:
        for seed in self.audit.seeds:
            if seed not in self.seeds:
                raise BadInput(
                    f"audit.seeds: {unknown('seed of this grid', str(seed), map(str, self.seeds))}"
                )
        if self.audit.models and self.splits == "mismatched":
            raise BadInput(
                "split=mismatched contradicts audit.models: a tenth of what is forgotten was never learned; "
                "set split=one"
            )

    @property
    def audited_seeds(self) -> tuple[int, ...]:
        """The seeds whose cells are audited; none without an audit."""
        return (self.audit.seeds or self.seeds[:1]) if self.audit.models else ()

    @property
    def audit_attacks(self) -> tuple[str, ...]:
        """The attacks of an audit, all unless some are named."""
        return self.audit.attacks or tuple(ATTACKS)

    def _check_params(self) -> None:
        if "retrain" in self.params:
            raise BadInput(
                "params.retrain contradicts retrain: Retrain's training is set by retrain.epochs=…"
            )
        self._check_shared_params()
        named = [name for name in self.params if name != ALL]
        named += [label for label in self.methods if ":" in label]
        for label, dataset in itertools.product(named, self.datasets):
            variant = parse_method(label)
            given_by = partial(self._given_by, variant)
            values = valid(given_by, variant.method.params, self._given(variant, dataset))
            undone = undone_ablation(variant.name, values)
            if undone:
                raise BadInput(
                    f"{given_by('')}: {undone} contradicts {variant.name}, which then ablates nothing"
                )
        self.original_params()
        self.retrain_params()

    def _check_shared_params(self) -> None:
        """Every name under params.all is some method's, every value right where it goes."""
        methods = (*METHODS.values(), *(parse_method(label).method for label in self.methods))
        known = {field for method in methods for field in method.params.model_fields}
        for field in self.params.get(ALL, {}):
            if field not in known:
                raise unknown(f"hyper-parameter in params.{ALL}", field, sorted(known))
        for label, dataset in itertools.product(self.methods if ALL in self.params else (), self.datasets):
            if label != "retrain":
                variant = parse_method(label)
                given_by = partial(self._given_by, variant)
                valid(given_by, variant.method.params, self._given(variant, dataset))

    def _check_ranges(self) -> None:
        """Every range is one that its method's search can go through."""
        for name, own in self.search.ranges.items():
            if name not in METHODS:
                raise unknown("method in search.ranges", name, METHODS)
            if name == "retrain":
                raise BadInput("search.ranges.retrain: Retrain is the reference and is not searched")
            for fixed in own.keys() & self.fixed_params(name).keys():
                raise BadInput(
                    f"search.ranges.{name}.{fixed} contradicts params, where {fixed} is fixed; leave one of them out"
                )
            if "epochs" in own and self.search.mode != "grid":
                raise BadInput(
                    f"search.ranges.{name}.epochs contradicts search.mode={self.search.mode}, which settles itself how"
                    " long a trial runs; set search.mode=grid"
                )
            for dataset in self.datasets:
                check_ranges(METHODS[name], own, self._given(parse_method(name), dataset))

    def space(self, label: str, arch: str) -> Space:
        """What the search of a method or variant goes through on a network; nothing that is fixed."""
        name, fixed = base_name(label), self.fixed(label)
        found = space_of(METHODS[name], arch, self.search.ranges.get(name, {}))
        return {parameter: values for parameter, values in found.items() if parameter not in fixed}

    def quant_specs(self, arch: str) -> list[QuantSpec]:
        """The quantization settings of a network, in order, without repeats."""
        info = model_info(arch)
        published = info.released_quant if self.protocol == "released" else info.paper_quant
        specs = [published if label == "paper" else QuantSpec.parse(label) for label in self.quantizers]
        return list(dict.fromkeys(specs))

    def width(self, arch: str) -> float:
        """Channel multiplier of a network."""
        return self.widths.get(arch, model_info(arch).width)

    def original_params(self) -> RetrainParams:
        """Training of the originals: the paper's 182 epochs unless set."""
        return self._training("original", {"epochs": 182, **self.original})

    def retrain_params(self) -> RetrainParams:
        """Training of the references: the paper's 160 epochs unless set; the same loop as the originals'."""
        shared = {k: v for k, v in self.original.items() if k != "epochs"}
        return self._training("retrain", {**shared, **self.retrain})

    def _training(self, where: str, values: dict[str, Any]) -> RetrainParams:
        released = METHODS["retrain"].released if self.protocol == "released" else {}
        return RetrainParams(**valid(where, RetrainParams, {**released, **values}))

    def method_params(self, label: str, dataset: str, searched: dict[str, Any]) -> dict[str, Any]:
        """Full hyper-parameters of a trial: defaults, then the protocol's, the grid's, the variant's, the searched."""
        variant = parse_method(label)
        return node_params(variant.method.params(**{**self._given(variant, dataset), **searched}))

    def fixed(self, label: str) -> frozenset[str]:
        """Hyper-parameters of a method or variant that the grid or the label sets, and no search varies."""
        variant = parse_method(label)
        return frozenset({**self.fixed_params(variant.name), **variant.options})

    def fixed_params(self, method: str) -> dict[str, Any]:
        """What `params` sets for a method, by its own name or for all."""
        fields = METHODS[method].params.model_fields
        shared = {name: value for name, value in self.params.get(ALL, {}).items() if name in fields}
        return {**shared, **self.params.get(method, {})}

    def _given_by(self, variant: Variant, field: str) -> str:
        """What sets a hyper-parameter of a variant, as `_given` chooses; "" stands for all of them together."""
        own = self.params.get(variant.name, {})
        if field in variant.options or (not field and variant.options):
            return f"methods: '{variant.label}'"
        if field in own or (not field and own):
            return f"params.{variant.name}"
        return "probe" if field == "probe" and field not in self.params.get(ALL, {}) else f"params.{ALL}"

    def _given(self, variant: Variant, dataset: str) -> dict[str, Any]:
        """What is set for a variant before the search; the nearer to the method, the stronger."""
        method, protocol = variant.method, variant.protocol or self.protocol
        released = released_options(method, dataset) if protocol == "released" else {}
        probe = {"probe": self.probe} if self.probe and "probe" in method.params.model_fields else {}
        fixed = worded(method, self.fixed_params(variant.name))
        return {**released, **probe, **fixed, **variant.options}


def node_params(params: BaseModel) -> dict[str, Any]:
    """Hyper-parameters as a node's inputs; options of `_LATER` only where they are used."""
    values = params.model_dump(mode="json")
    return {name: value for name, value in values.items() if name not in _LATER or value != _LATER[name]}


# options that came after the first stores, with the value that stands for what was done before
_LATER = {"probe": 0, "norm_images": None}


def parse_spec(values: dict[str, Any]) -> GridSpec:
    """A grid from plain values; BadInput in one line for anything that does not fit."""
    try:
        return GridSpec.model_validate(values)
    except ValidationError as error:
        raise BadInput(one_line(error, GridSpec)) from error
