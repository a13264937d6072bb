"""How large the gradients of a data set are: the measurement behind adaptive gradient reweighting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from core import quant
from core.data import Batch, Images, plain_batches
from core.lazy import F, Tensor, nn, torch
from core.train import EpochFacts, Forward, Precision, autocast, plain
from core.unlearn.base import Problem, UnlearnParams
from core.unlearn.parameters import normalisation_parameters

Norm = Literal["global", "tensor_sum", "dataset"]
NormOver = Literal["all", "weights"]


def gradient_norm(
    model: nn.Module,
    passes: Iterable[Batch],
    norm: Norm = "global",
    over: NormOver = "all",
    *,
    precision: Precision = "float32",
    forward: Forward = plain,
) -> float:
    """The size of the cross-entropy gradient of a data set (eq. 14-15).

    Args:
        model: in the mode to measure in; eval leaves every buffer bit-identical.
        passes: the batches to measure on.
        norm: global is the mean over batches of the L2 norm of the whole gradient; tensor_sum the mean over
            batches of the sum of the norms of the single tensors, as the published code has it; dataset the L2
            norm of the gradient of the mean loss over all images, in which batches may cancel.
        over: all trainable parameters, or weights alone: weights and biases of layers, without the parameters
            of quantizers and of normalisation layers.
        precision, forward: how logits are computed, as in `core.train.loop.fit`.

    No parameter, gradient slot or optimizer state is touched.
    """
    parameters = _measured_parameters(model, over)
    gradients = _gradients(model, passes, parameters, precision, forward)
    if norm == "dataset":
        return float(_norm(_mean_gradient(gradients), "global"))
    return float(torch.stack([_norm(grads, norm) for _, grads in gradients]).mean())


def gradient_probe(
    model: nn.Module,
    problem: Problem,
    params: UnlearnParams,
    forget: Callable[[], Images] | None = None,
) -> Callable[[int], EpochFacts]:
    """The measurement before every epoch that `params.probe` asks for, as `fit` wants it.

    Tells `forget_gradient_norm` and `retain_gradient_norm`: global norms over all parameters, on the first
    `probe` images of each set, plain, in float32 and eval mode. Nothing is drawn, and of the model nothing
    but the mode changes. With probe 0 there are no facts.

    Args:
        model: the model in training.
        forget: the forget set under the labels of the epoch at hand; by default under the true ones.
    """

    def measure(images: Images) -> float:
        first = images.select(torch.arange(min(params.probe, len(images))))
        return gradient_norm(model, plain_batches(first, params.batch_size, problem.augment))

    def facts(_epoch: int) -> EpochFacts:
        if params.probe == 0:
            return {}
        model.eval()
        return {
            "forget_gradient_norm": measure(problem.forget if forget is None else forget()),
            "retain_gradient_norm": measure(problem.retain),
        }

    return facts


def _measured_parameters(model: nn.Module, over: NormOver) -> list[nn.Parameter]:
    apart = (
        quant.quantizer_parameters(model) | normalisation_parameters(model) if over == "weights" else set()
    )
    return [p for name, p in model.named_parameters() if p.requires_grad and name not in apart]


def _gradients(
    model: nn.Module,
    passes: Iterable[Batch],
    parameters: list[nn.Parameter],
    precision: Precision,
    forward: Forward,
) -> Iterator[tuple[int, list[Tensor]]]:
    """Per batch: its number of images and the gradient of its mean loss, without unused parameters."""
    for batch in passes:
        with autocast(batch.images.device, precision):
            logits_BK = forward(model, batch.images)
        loss = F.cross_entropy(logits_BK.float(), batch.labels)
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        yield len(batch.labels), [g for g in grads if g is not None]


def _mean_gradient(gradients: Iterable[tuple[int, list[Tensor]]]) -> list[Tensor]:
    total: list[Tensor] = []
    images = 0
    for count, grads in gradients:
        weighted = list(torch._foreach_mul(grads, float(count)))
        total = list(torch._foreach_add(total, weighted)) if total else weighted
        images += count
    return list(torch._foreach_div(total, float(images)))


def _norm(gradients: list[Tensor], norm: Norm) -> Tensor:
    each = torch.stack(torch._foreach_norm(gradients))
    return each.sum() if norm == "tensor_sum" else torch.linalg.vector_norm(each)
