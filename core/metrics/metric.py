"""What a metric is: a function of what a model left, and how its figure is called, read and shown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from core.metrics.predictions import FloatArray, Predictions

Better = Literal["higher", "lower", "closer to Retrain"]
Source = Literal["predictions", "margins", "outputs", "weights", "training"]
MAIN, FURTHER = "main table", "Further figures"


class Estimate(NamedTuple):
    """A value and the 95 % interval that its images allow."""

    value: float
    low: float
    high: float


Function = Callable[..., float | Estimate | None]


@dataclass(frozen=True)
class Metric:
    """One figure of a model: from its entry in `METRICS` follow column, tables, charts, LaTeX, CSV and MLflow.

    Attributes:
        function: gives the value, or None where there is none to have. What it is given depends on `reads`.
        title: a column's heading; in text "{title}, {unit}".
        unit: "%", "points", "s" (then it is shown as a duration), another word, or nothing.
        better: which direction is; None: neither.
        digits: decimals in tables; None: three significant ones.
        reads: what the function is called with, which a store must have kept to compute the metric later.
            predictions: a `SetPredictions`. margins: a `SetMargins`. outputs: the model's and Retrain's probabilities
            by set, see `core.metrics.outputs`. weights: the original and the unlearned network. training: what the
            row of the trained model says, by column.
        interval: the function gives an `Estimate`; its ends become columns {name}_low and {name}_high.
        scale: what a row's value is multiplied with where it is shown (100: a share in percent).
        table: MAIN, the heading of the table beneath it that the metric stands in, or None: it stands in none.
        chart: whether the page draws it by method. (Some have a chart of another kind, or too much company.)
        in_full: the title without abbreviations.
        about: sentences that say what it measures, beneath table and chart.
    """

    function: Function
    title: str
    unit: str
    better: Better | None
    digits: int | None
    reads: Source = "predictions"
    interval: bool = False
    scale: float = 1.0
    table: str | None = FURTHER
    chart: bool = True
    in_full: str = ""
    about: str = ""

    @property
    def heading(self) -> str:
        """Title and unit: `Flip rate, %`."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def name_in_full(self) -> str:
        """The title without abbreviations, as far as there is one."""
        return self.in_full or self.title


@dataclass(frozen=True)
class SetPredictions:
    """A model's predictions by set.

    test and validation leave a forgotten class out; forgotten: the test images of that class, None where random images
    are forgotten. validation may be empty.
    """

    forget: Predictions
    retain: Predictions
    test: Predictions
    validation: Predictions
    forgotten: Predictions | None = None


@dataclass(frozen=True)
class SetMargins:
    """A model's margins by set, as `SetPredictions` has its predictions; float32, see `core.metrics.margins`."""

    forget: FloatArray
    retain: FloatArray
    test: FloatArray
    validation: FloatArray
