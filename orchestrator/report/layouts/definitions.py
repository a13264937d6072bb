"""Which figures another paper prints as tables of their own, by recipe; `pivot_tables` fills them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from core.metrics import METRICS, Metric, Source
from core.quant import QuantSpec
from orchestrator.plan import Cell
from orchestrator.report.intervals import Figure
from orchestrator.report.tables import Line, Role

Better = Literal["higher", "lower", "nearest", "neither"]  # nearest: to Retrain

MNEMONIC = "of mnemonic code (Yamashita et al.)"
FEATURES = "The tables of residual feature alignment (Qin et al.)"


@dataclass(frozen=True)
class Layout:
    """One printed table. figure: a name in `measures`. source: where it stands; nothing for a grid's own."""

    title: str
    figure: str
    unit: str
    better: Better
    source: str = ""


@dataclass(frozen=True)
class Measure:
    """How a line says a figure. roles: the lines that have one. places: decimals; None: by size.

    lacks: why a whole problem cannot have it, or nothing.
    """

    read: Callable[[Line], Figure | None]
    roles: tuple[Role, ...]
    places: int | None = 2
    lacks: Callable[[Cell], str] = lambda _at: ""


def _of_class(at: Cell) -> str:
    return "" if at.scenario == "class" else "no class is forgotten"


def _of_codes(at: Cell) -> str:
    return "no weights are quantized" if QuantSpec.parse(at.quant).weight_bits is None else ""


# by what a metric reads: the lines that have it
_ROLES: dict[Source, tuple[Role, ...]] = {
    "predictions": ("original", "reference", "method"),
    "margins": ("original", "reference", "method"),
    "training": ("reference", "method"),
    "outputs": ("method",),
    "weights": ("method",),
}
_LACKS = {"ef": _of_class, "flip_rate": _of_codes}
_OTHERS = {
    "ag": Measure(lambda line: line.ag, ("original", "method")),
    "trainable": Measure(lambda line: line.trainable, ("method",), 1),
}


def measures() -> dict[str, Measure]:
    """How a line says each metric and the figures that are none."""
    return {name: _measure(name, metric) for name, metric in METRICS.items()} | _OTHERS


def _measure(name: str, metric: Metric) -> Measure:
    return Measure(
        lambda line: line.figures.get(name),
        _ROLES[metric.reads],
        metric.digits,
        _LACKS.get(name, lambda _at: ""),
    )


AVERAGE_GAP = Layout("AG, average gap to Retrain", "ag", "points", "lower")
CROSS = (
    AVERAGE_GAP,
    Layout("Flip rate, integer weight codes that changed", "flip_rate", "%", "neither"),
    Layout("RTE, run time of unlearning", "seconds", "s", "lower"),
)
LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "mnemonic_table": (
        Layout("A_R, accuracy on retained classes (TA)", "ta", "%", "higher", f"Table 2 {MNEMONIC}"),
        Layout("E_F, error on the forgotten class", "ef", "%", "higher", f"Table 3 {MNEMONIC}"),
        Layout("Processing time (RTE)", "seconds", "s", "lower", f"Figure 3 {MNEMONIC}"),
    ),
    "rfa_table": (
        Layout("Accuracy on D_f (FA)", "fa", "%", "nearest", FEATURES),
        Layout("Accuracy on D_r (RA)", "ra", "%", "nearest", FEATURES),
        Layout("Accuracy on D_t (TA)", "ta", "%", "nearest", FEATURES),
        *(
            Layout(f"{what} to Retrain on {where}", f"{kind}_{name}", unit, "lower", FEATURES)
            for kind, what, unit in (
                ("activation", "Activation distance", "L2"),
                ("js", "JS divergence", "nats"),
            )
            for name, where in (("forget", "D_f"), ("retain", "D_r"), ("test", "D_t"))
        ),
        Layout("MIA, forgotten images taken for never seen", "mia", "%", "nearest", FEATURES),
        Layout("Parameters that train, of methods that train a part", "trainable", "%", "neither", FEATURES),
        Layout("Training time (RTE)", "seconds", "s", "lower", FEATURES),
    ),
    "cross_table": CROSS,
    "cross_table_class": CROSS,
}
