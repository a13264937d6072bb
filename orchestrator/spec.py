"""The grid as a typed value: what to train, forget, measure, search and keep."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from core.data import DATASETS
from core.errors import BadInput, unknown
from core.models import MODELS
from core.quant import QUANTIZERS, QuantSpec
from core.unlearn import METHODS
from core.unlearn.retrain import RetrainParams


def _listed(value: object) -> object:
    """A single value stands for a list of one; text is split at commas, as a command line writes lists."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (value,) if isinstance(value, int | float) else value


def _plain(value: object) -> object:
    return {"train": value, "test": value} if isinstance(value, int) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Ratio = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LimitSpec(_Part):
    """Images kept of each split, drawn evenly over the classes; a plain number holds for both."""

    train: Count | None = None
    test: Count | None = None


class DataSpec(_Part):
    """root: where the data sets lie. cache: where decoded images go. limit: a smaller grid.

    download: fetch what is missing. augment: crop and flip while training.
    """

    root: str | None = None
    cache: str | None = None
    limit: Annotated[LimitSpec, BeforeValidator(_plain)] | None = None
    download: bool = False
    augment: bool = True


class SearchSpec(_Part):
    """mode: how hyper-parameters are searched. trials: per cell, the same for every method."""

    mode: Literal["grid"] = "grid"
    trials: Count = 8


class TrackingSpec(_Part):
    """uri: an MLflow server, else a SQLite file in the store. enabled: false leaves MLflow alone."""

    uri: str | None = None
    enabled: bool = True


class ResourceSpec(_Part):
    """device: auto, cpu or cuda. gpus_per_slot: 0.5 packs two trials on a GPU. slots: an upper bound.

    threads: CPU threads of a training node. Results repeat bit by bit for the same number of threads.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpus_per_slot: Annotated[float, Field(gt=0)] = 1.0
    slots: Count | None = None
    threads: Count = 1


class GridSpec(_Part):
    """A grid: datasets × archs × quantizers × (ratios + classes) × methods × seeds.

    quantizers: labels such as 4w4a, 2w, fp; "paper" is each network's published setting.
    ratios: shares of the pool forgotten at random. classes: classes forgotten whole.
    methods: names from core.unlearn; retrain is the reference and always runs.
    protocol: paper (equations) or released (what the published code does where it differs).
    select_on: figures that choose a cell's trial. keep: whose weights stay in the store.
    validation: share of the training images held out. widths: channel multiplier by network.
    original, retrain: their training. params: fixed hyper-parameters by method; a fixed one is not searched.
    needs_gpu: a grid nobody should start on CPUs by accident.
    """

    recipe: str = "custom"
    datasets: Names
    archs: Names
    quantizers: Names = ("paper",)
    ratios: Annotated[tuple[Ratio, ...], BeforeValidator(_listed)] = ()
    classes: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_listed)] = ()
    methods: Names = tuple(METHODS)
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_listed), Field(min_length=1)
    ] = (1,)
    protocol: Literal["paper", "released"] = "paper"
    select_on: Literal["validation", "test"] = "validation"
    keep: Literal["selected", "all"] = "selected"
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    widths: dict[str, Annotated[float, Field(gt=0)]] = {}
    original: dict[str, Any] = {}
    retrain: dict[str, Any] = {}
    params: dict[str, dict[str, Any]] = {}
    data: DataSpec = DataSpec()
    search: SearchSpec = SearchSpec()
    tracking: TrackingSpec = TrackingSpec()
    resources: ResourceSpec = ResourceSpec()
    needs_gpu: bool = False

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        """Every name is in its registry, every class in its data set, every parameter in its method."""
        for what, names, registry in (
            ("dataset", self.datasets, DATASETS),
            ("architecture", self.archs, MODELS),
            ("method", self.methods, METHODS),
            ("architecture", self.widths, MODELS),
            ("method", self.params, METHODS),
        ):
            for name in names:
                if name not in registry:
                    raise unknown(what, name, registry)
        for arch in self.archs:
            for quant in self.quant_specs(arch):
                if quant.quantizer not in QUANTIZERS:
                    raise unknown("quantizer", quant.quantizer, QUANTIZERS)
        self._check_scenarios()
        self._check_params()
        return self

    def _check_scenarios(self) -> None:
        if not self.ratios and not self.classes:
            raise BadInput("nothing to forget: set ratios (such as 0.1) or classes (such as 0)")
        for dataset in self.datasets:
            for label in self.classes:
                if label >= DATASETS[dataset].classes:
                    last = DATASETS[dataset].classes - 1
                    raise BadInput(
                        f"classes: {dataset} has no class {label} (valid: 0-{last}; nearest: {last})"
                    )

    def _check_params(self) -> None:
        if self.validation == 0 and self.select_on == "validation":
            raise BadInput(
                "validation=0 contradicts select_on=validation; hold images out, or set select_on=test"
            )
        for name, params in self.params.items():
            _valid(f"params.{name}", METHODS[name].params, {**self._released(name), **params})
        self.original_params()
        self.retrain_params()

    def _released(self, method: str) -> dict[str, Any]:
        return dict(METHODS[method].released) if self.protocol == "released" else {}

    def quant_specs(self, arch: str) -> list[QuantSpec]:
        """The quantization settings of a network, in order, without repeats."""
        paper = MODELS[arch].paper_quant
        specs = [paper if label == "paper" else QuantSpec.parse(label) for label in self.quantizers]
        return list(dict.fromkeys(specs))

    def width(self, arch: str) -> float:
        """Channel multiplier of a network."""
        return self.widths.get(arch, MODELS[arch].width)

    def original_params(self) -> RetrainParams:
        """Training of the originals: the paper's 182 epochs unless set."""
        return RetrainParams.model_validate(
            _valid("original", RetrainParams, {"epochs": 182, **self.original})
        )

    def retrain_params(self) -> RetrainParams:
        """Training of the references: the paper's 160 epochs unless set; the same loop as the originals'."""
        shared = {k: v for k, v in self.original.items() if k != "epochs"}
        return RetrainParams.model_validate(_valid("retrain", RetrainParams, {**shared, **self.retrain}))

    def method_params(self, method: str, searched: dict[str, float]) -> dict[str, Any]:
        """Full hyper-parameters of a trial: defaults, then the protocol, then the grid's, then the searched."""
        chosen = {**self._released(method), **self.params.get(method, {}), **searched}
        return METHODS[method].params(**chosen).model_dump(mode="json")


def _valid(where: str, model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """The values, if the model takes them; BadInput in one line otherwise."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        raise BadInput(f"{where}: {one_line(error, model)}") from error
    return values


def parse_spec(values: dict[str, Any]) -> GridSpec:
    """A grid from plain values; BadInput in one line for anything that does not fit."""
    try:
        return GridSpec.model_validate(values)
    except ValidationError as error:
        raise BadInput(one_line(error, GridSpec)) from error


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing pydantic objects to, as one line with the nearest valid value where there is one."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, BadInput):
        return f"{place}: {cause}" if place else str(cause)
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, first["loc"][:-1])
        return str(unknown("key", place, _full_names(owner, first["loc"][:-1])))
    return f"{place}: {first['msg'].lower()} (got {str(first['input'])!r:.60})"


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that owns the fields at a path of an error."""
    for name in path:
        default = model.model_fields[str(name)].default if str(name) in model.model_fields else None
        kinds = {"limit": LimitSpec}
        model = type(default) if isinstance(default, BaseModel) else kinds.get(str(name), model)
    return model


def _full_names(owner: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    return [".".join([*(str(p) for p in path), field]) for field in owner.model_fields]
