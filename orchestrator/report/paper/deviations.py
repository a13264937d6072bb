"""Our figures beside the paper's printed ones, and what keeps the two from being the same experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.data import dataset_info
from core.models import model_info
from core.quant import QuantSpec
from core.unlearn import METHODS, RetrainParams
from orchestrator.plan import Cell
from orchestrator.report.paper.published import COMPARED, Published, find_published
from orchestrator.spec import GridSpec, titles

ORIGINAL_EPOCHS, RETRAIN_EPOCHS, VALIDATION = 182, 160, 0.1  # the paper's


@dataclass(frozen=True)
class Pair:
    """One figure in percent. difference: ours - printed.

    It is None without ours, for a row that contradicts itself, and for Retrain's AG, which is 0 by definition.
    doubtful: a figure that the row's contradiction is about.
    """

    ours: float | None
    printed: float
    difference: float | None
    doubtful: bool


@dataclass(frozen=True)
class PrintedMethod:
    """A method's pairs by figure, `ag` included. note: how the printed row contradicts itself, or nothing."""

    method: str
    title: str
    pairs: dict[str, Pair]
    note: str


@dataclass(frozen=True)
class PrintedRows:
    """What is printed for one comparison. tables: the paper's. terms: where ours is another experiment."""

    tables: tuple[int, ...]
    terms: tuple[str, ...]
    lines: tuple[PrintedMethod, ...]

    @property
    def source(self) -> str:
        """`table 1`, or `tables 1 and 2`."""
        numbers = " and ".join(map(str, self.tables))
        return f"table{'s' if len(self.tables) > 1 else ''} {numbers}"

    @property
    def notes(self) -> list[str]:
        """One line for each row that contradicts itself."""
        return [
            f"{line.title}: the printed row contradicts itself and is no target ({line.note})"
            for line in self.lines
            if line.note
        ]


def pairs_of(row: Published, ours: Mapping[str, float | None]) -> dict[str, Pair]:
    """Each figure of a printed row with ours."""
    return {name: _pair(row, name, ours.get(name)) for name in COMPARED}


def _pair(row: Published, name: str, ours: float | None) -> Pair:
    printed = row.figures[name]
    defined = name == "ag" and row.method == "retrain"
    difference = None if ours is None or row.note or defined else ours - printed
    return Pair(ours, printed, difference, name in row.doubtful)


def printed_rows(
    spec: GridSpec, at: Cell, means: Mapping[str, Mapping[str, float | None]], seeds: int
) -> PrintedRows | None:
    """The printed rows of a problem's methods beside their means over seeds; None where nothing is printed.

    means: figures by method; a method without figures has an empty mapping. seeds: how many there are to average.
    """
    found = {method: rows for method in means if (rows := find_published(at._replace(method=method)))}
    if not found:
        return None
    lines = [
        PrintedMethod(method, titles.title(method), pairs_of(rows[0], means[method]), rows[0].contradiction)
        for method, rows in found.items()
    ]
    terms = _terms(spec, at, tuple(found), seeds)
    return PrintedRows(_tables(list(found.values())), terms, tuple(lines))


def _tables(found: Sequence[Sequence[Published]]) -> tuple[int, ...]:
    """The tables that print every method, else all that print one."""
    sets = [{row.table for row in rows} for rows in found]
    return tuple(sorted(set.intersection(*sets) or set.union(*sets)))


def _terms(spec: GridSpec, at: Cell, methods: Sequence[str], seeds: int) -> tuple[str, ...]:
    smaller = _smaller(spec, at)
    terms = [f"Ours: {', '.join(smaller)}: not comparable in level"] if smaller else []
    return (*terms, f"Ours: {'; '.join([*_choices(spec, at, methods), _seeds(at, seeds)])}")


def _smaller(spec: GridSpec, at: Cell) -> list[str]:
    """Where the networks are trained on less than the paper's, or otherwise."""
    trained = {k: v for k, v in {**spec.original, **spec.retrain}.items() if k != "epochs"}
    info = dataset_info(at.dataset)
    augments = info.crop_padding or info.flip
    return [
        *([titles.images(at.dataset, spec)] if _limited(spec, at.dataset) else []),
        *_width(spec, at.arch),
        *(["from given weights"] if at.arch in spec.weights else []),
        *_epochs("original", spec.original_params().epochs, ORIGINAL_EPOCHS),
        *_epochs("Retrain", spec.retrain_params().epochs, RETRAIN_EPOCHS),
        *(f"{name} {value}" for name, value in _changed(trained, RetrainParams().model_dump()).items()),
        *([] if spec.data.augment or not augments else ["no augmentation"]),
        *([] if spec.validation == VALIDATION else [f"{100 * spec.validation:g} % instead of 10 % held out"]),
    ]


def _width(spec: GridSpec, arch: str) -> list[str]:
    ours, paper = spec.width(arch), model_info(arch).width
    if ours == paper:
        return []
    return [f"width × {ours:g}" + ("" if paper == 1 else f" instead of {paper:g}")]


def _epochs(who: str, ours: int, paper: int) -> list[str]:
    return [] if ours == paper else [f"{ours} instead of {paper} epochs ({who})"]


def _limited(spec: GridSpec, dataset: str) -> bool:
    limit, info = spec.data.limit, dataset_info(dataset)
    kept = ((limit.train, info.train_size), (limit.test, info.test_size)) if limit else ()
    return any(images is not None and images < size for images, size in kept)


def _choices(spec: GridSpec, at: Cell, methods: Sequence[str]) -> list[str]:
    """What the grid decides where the paper's text and its code differ, or where the paper is silent."""
    said = ["the equations, not the published code"] if spec.protocol == "paper" else []
    if at.quant != model_info(at.arch).paper_quant.label and not _printed_label(at):
        said.append(f"quantization {at.quant}")
    fixed = [
        name
        for method in methods
        for name in _changed(spec.fixed_params(method), METHODS[method].params().model_dump())
    ]
    said += [f"{', '.join(dict.fromkeys(fixed))} of the methods fixed"] if fixed else []
    ranges = spec.search.ranges
    other = [f"{name} of {titles.title(method)}" for method in methods for name in ranges.get(method, {})]
    said += [f"other search ranges for {', '.join(other)}"] if other else []
    return said


def _printed_label(at: Cell) -> bool:
    """Whether a label says no more than bits and quantizer, as the paper does."""
    quant = QuantSpec.parse(at.quant)
    plain = QuantSpec(
        weight_bits=quant.weight_bits, activation_bits=quant.activation_bits, quantizer=quant.quantizer
    )
    return quant == plain and quant.quantizer != "lsq_released"


def _changed(values: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, object]:
    """What is set to something else than its default, by name."""
    return {name: value for name, value in values.items() if value != defaults.get(name)}


def _seeds(at: Cell, count: int) -> str:
    """The paper says neither how many seeds its figures come from nor which class it forgets."""
    said = "one seed" if count == 1 else f"the mean of {count} seeds"
    if at.scenario == "class":
        return f"{said} and {titles.scenario(at.scenario, at.amount)} (the paper names neither)"
    return f"{said} (the paper names none)"
