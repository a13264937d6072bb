"""Several networks trained as one: stacked parameters, one batched operation for all (torch.func.vmap)."""

import copy
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, stack_module_state, vmap
from torch.nn import functional as F

from core.models import build
from core.quant import QUANTIZERS, QuantSpec
from tests.bench.measure import Comparison, Effort, of_this_machine, side_by_side
from tests.bench.straight_through import COMPOSED
from tests.bench.surroundings import as_in_a_node
from tests.bench.training_step import Case, random_batch

NETWORKS, LR = 4, 0.01
APART, STACKED = f"{NETWORKS} networks, one after the other", f"{NETWORKS} networks stacked"


def stacked(effort: Effort) -> list[Comparison]:
    """Forward, backward and update of four MobileNetV2 2w on the same batch, apart and stacked.

    That is what trials of one cell with different learning rates do. Both use the composed quantizer, batch
    statistics without running ones, and no dropout, which vmap needs; float32.
    """
    cases = of_this_machine(effort, Case(0.1, 4, 1), [Case(0.25, 64, 1)], [Case(0.5, 256, 5, "cuda")])
    with as_in_a_node():
        return [_compared(case, effort.repeats) for case in cases]


def _compared(case: Case, repeats: int) -> Comparison:
    batch = random_batch(case)
    networks = [_network(case, seed) for seed in range(NETWORKS)]
    variants = {
        APART: _repeated(case, _apart(networks, batch.images, batch.labels)),
        STACKED: _repeated(case, _stacked(networks, batch.images.contiguous(), batch.labels)),
    }
    words = case.words.replace("ResNet-18", "MobileNetV2 2w").replace("bfloat16 autocast", "float32")
    seconds = side_by_side(variants, repeats)
    return Comparison(
        "stacked", words, "step of all", seconds, case.steps, NETWORKS * case.batch, "images", APART
    )


def _network(case: Case, seed: int) -> nn.Module:
    quant = QuantSpec(weight_bits=2, quantizer="composed")
    with patch.dict(QUANTIZERS, composed=COMPOSED):
        generator = torch.Generator().manual_seed(seed)
        model = build("mobilenetv2", 10, generator=generator, width=case.width, quant=quant)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    replace_all_batch_norm_modules_(model)
    return model.to(case.device).train()


def _repeated(case: Case, step: Callable[[], None]) -> Callable[[], None]:
    def steps() -> None:
        for _ in range(case.steps):
            step()
        if case.device == "cuda":
            torch.cuda.synchronize()

    return steps


def _apart(networks: list[nn.Module], images: Tensor, labels: Tensor) -> Callable[[], None]:
    def step() -> None:
        for network in networks:
            parameters: list[Tensor] = list(network.parameters())
            grads = torch.autograd.grad(F.cross_entropy(network(images), labels), parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, grads, alpha=-LR)

    return step


def _stacked(networks: list[nn.Module], images: Tensor, labels: Tensor) -> Callable[[], None]:
    # channels-last pooling has no batching rule
    plain = [copy.deepcopy(network).to(memory_format=torch.contiguous_format) for network in networks]
    parameters, buffers = stack_module_state(plain)  # type: ignore[arg-type]
    skeleton = plain[0]

    def loss(own: dict[str, Tensor], state: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(skeleton, (own, state), (images,)), labels)

    gradients = vmap(grad(loss))

    def step() -> None:
        grads = gradients(parameters, buffers)
        with torch.no_grad():
            torch._foreach_add_(list(parameters.values()), [grads[name] for name in parameters], alpha=-LR)

    return step
