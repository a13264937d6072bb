"""How large the gradients of a data set are: the measurement behind adaptive gradient reweighting."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.loader import Batch

Norm = Literal["global", "tensor_sum"]


def mean_gradient_norm(model: nn.Module, passes: Iterable[Batch], norm: Norm = "global") -> float:
    """Mean over batches of the norm of the cross-entropy gradient, over all trainable parameters.

    Args:
        model: in the mode to measure in; eval leaves every buffer bit-identical.
        passes: the batches to measure on.
        norm: global is the L2 norm of the whole gradient (eq. 14-15); tensor_sum adds up the norms of the
            single tensors, as the published code does.

    No parameter, gradient slot or optimizer state is touched.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    norms = []
    for batch in passes:
        loss = F.cross_entropy(model(batch.images), batch.labels)
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        norms.append(_norm([g for g in grads if g is not None], norm))
    return float(torch.stack(norms).mean())


def _norm(gradients: list[Tensor], norm: Norm) -> Tensor:
    each = torch.stack(torch._foreach_norm(gradients))
    return each.sum() if norm == "tensor_sum" else torch.linalg.vector_norm(each)
