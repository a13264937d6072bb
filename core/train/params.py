"""The hyper-parameters that every training has."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["auto", "float32", "bfloat16"]
Schedule = Literal["cosine", "constant", "triangle"]
Positive = Annotated[int, Field(ge=1)]
LearningRate = Annotated[float, Field(gt=0)]


class Params(BaseModel):
    """What every method's hyper-parameters share: unknown names and values that are not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch_size: Positive = 256


class TrainParams(Params):
    """Hyper-parameters of the loop. Defaults are the paper's: batch 256, momentum 0.9, weight decay 5e-4.

    `decay_quantizers` decays steps and offsets too, as the published code does with its single group.
    `step_trust` bounds how far one update may move a quantization step (see `StepGuard`); None: unbounded.
    `schedule` is how the learning rate moves from epoch to epoch, see `core.train.loop.epoch_lr`.
    `precision` auto means bfloat16 autocast on CUDA and, in a grid, on processors that are the faster for it; float32
    elsewhere (see `core.train.precision`).
    """

    epochs: Positive = 10
    lr: LearningRate = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    decay_quantizers: bool = False
    schedule: Schedule = "cosine"
    step_trust: Annotated[float, Field(gt=0)] | None = 0.0025
    precision: Precision = "auto"
