"""What quantization costs a training step."""

from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor, nn

from core.data.loader import Batch
from core.models import build
from core.quant import QUANTIZERS, QuantSpec, calibrate_
from core.train.forward import Forward, compiled, plain
from core.train.loop import Callbacks, TrainParams, fit
from core.train.precision import autocast
from tests.bench.measure import Comparison, Effort, Target, of_this_machine, side_by_side
from tests.bench.straight_through import COMPOSED
from tests.bench.surroundings import as_in_a_node

PIXELS, CLASSES = 32, 10
FLOAT, OURS, REFERENCE = "full precision", "4w4a LSQ+", "4w4a, composed straight-through"
QUANTS = {
    FLOAT: QuantSpec(),
    OURS: QuantSpec(weight_bits=4, activation_bits=4),
    REFERENCE: QuantSpec(weight_bits=4, activation_bits=4, quantizer="composed"),
}
LIMITS = {"cpu": 1.15, "cuda": 1.10}  # times full precision, by the paper's network and batches


@dataclass(frozen=True)
class Case:
    """A ResNet-18 and its batch; steps in one repetition. compiled: whether that is compared too."""

    width: float
    batch: int
    steps: int
    device: str = "cpu"
    compiled: bool = False

    @property
    def words(self) -> str:
        """For the tables."""
        precision = "float32, 1 CPU thread" if self.device == "cpu" else "bfloat16 autocast, CUDA"
        return f"ResNet-18 width {self.width:g}, batch {self.batch}, {PIXELS} px, {precision}"


def training_step(effort: Effort) -> list[Comparison]:
    """Forward, backward and update of ResNet-18, channels-last, through `core.train.loop.fit`.

    The quantized network is compared with the same network in full precision, and with a reference whose
    quantizers are composed of elementary operations with detached rounding, as LSQ+ is usually written. On a
    GPU, where there is one, also `core.train.compiled`, and that replayed as CUDA graphs. Kept is what a forward
    pass leaves in memory for the backward pass, beside the parameters, in the order of the first rows.
    """
    on_gpu = [Case(1.0, 256, 20, "cuda", compiled=True)]
    cases = of_this_machine(effort, Case(0.01, 4, 1), [Case(1.0, 32, 1), Case(0.25, 128, 2)], on_gpu)
    with as_in_a_node():
        return [_compared(case, effort.repeats) for case in cases]


def _compared(case: Case, repeats: int) -> Comparison:
    batch = random_batch(case)
    variants = {name: repetition(case, quant, batch) for name, quant in QUANTS.items()}
    if case.compiled:
        for name in (FLOAT, OURS):
            for how, forward in _compiled(case.device).items():
                variants[f"{name}, {how}"] = repetition(case, QUANTS[name], batch, forward)
    memory = ", ".join(f"{_kept(case, quant, batch) / 2**20:,.0f}" for quant in QUANTS.values())
    return Comparison(
        "training_step",
        f"{case.words}, kept {memory} MiB",
        "step",
        side_by_side(variants, repeats),
        units=case.steps,
        items=case.batch,
        item="images",
        baseline=FLOAT,
        target=Target(OURS, "ratio", LIMITS[case.device]) if case.width == 1 else None,
    )


def _compiled(device: str) -> dict[str, Forward]:
    found = {"compiled": compiled(torch.device(device))}
    if device == "cuda":
        found["compiled, graphs"] = torch.compile(
            plain, fullgraph=True, dynamic=False, mode="reduce-overhead"
        )
    return found


def _kept(case: Case, quant: QuantSpec, batch: Batch) -> int:
    """Bytes that a forward pass leaves for the backward pass; what several operations share counts once."""
    model = network(case.width, quant, batch.images).train()
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Tensor] = {}  # by address; held on to, so that none is given out twice

    def keep(saved: Tensor) -> Tensor:
        kept.setdefault(saved.untyped_storage().data_ptr(), saved)
        return saved

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved),
        autocast(batch.images.device, "auto"),
    ):
        model(batch.images)
    return sum(t.untyped_storage().nbytes() for address, t in kept.items() if address not in parameters)


def random_batch(case: Case) -> Batch:
    """Noise of zero mean and unit deviation, as normalised images are; the same for all variants."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((case.batch, 3, PIXELS, PIXELS), generator=generator)
    labels = torch.arange(case.batch) % CLASSES
    on_device = images.to(case.device, memory_format=torch.channels_last)
    return Batch(on_device, labels.to(case.device), None)


def network(width: float, quant: QuantSpec, images_BCHW: Tensor) -> nn.Module:
    """A fresh ResNet-18, calibrated, with the reference quantizer among those to choose from."""
    generator = torch.Generator().manual_seed(2)
    with patch.dict(QUANTIZERS, composed=COMPOSED):
        model = build("resnet18", CLASSES, generator=generator, width=width, quant=quant)
    return calibrate_(model.to(images_BCHW.device), images_BCHW)


def repetition(case: Case, quant: QuantSpec, batch: Batch, forward: Forward = plain) -> Callable[[], None]:
    """Trains a fresh network for the case's steps."""
    model = network(case.width, quant, batch.images)
    params = TrainParams(
        epochs=1, lr=0.01, batch_size=case.batch
    )  # momentum, decay and precision as in every training node

    def steps() -> None:
        fit(
            model,
            lambda _: [batch] * case.steps,
            params,
            torch.Generator().manual_seed(3),
            callbacks=Callbacks(forward=forward),
        )
        if case.device == "cuda":
            torch.cuda.synchronize()

    return steps
