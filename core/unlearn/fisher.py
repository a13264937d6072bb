"""Diagonals of the Fisher matrix: how much each single parameter matters to the outputs on some images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from core.data import Batch
from core.lazy import F, Tensor, nn, torch
from core.unlearn.parameters import Vector, filled

Losses = Callable[[Tensor, Tensor], Tensor]  # logits BK, labels B -> losses, B first


def batch_fisher(model: nn.Module, moved: Sequence[Tensor], passes: Iterator[Batch]) -> Vector:
    """Mean over batches of the squared gradient of a batch's mean cross-entropy.

    What published code takes for the diagonal: gradients of different images cancel before they are squared,
    so that it depends on the batch's size. Of one image each it is the empirical Fisher's diagonal.
    """
    total, count = [torch.zeros_like(p) for p in moved], 0
    for batch in passes:
        loss = F.cross_entropy(model(batch.images), batch.labels)
        grads = filled(torch.autograd.grad(loss, moved, allow_unused=True), moved)
        torch._foreach_addcmul_(total, grads, grads)
        count += 1
    torch._foreach_div_(total, float(count))
    return total


def sampled_fisher(
    model: nn.Module,
    moved: Sequence[Tensor],
    passes: Iterator[Batch],
    losses: Losses,
    generator: torch.Generator,
    draws: int,
) -> Vector:
    """Mean over images of the squared gradients of the image's losses, added up; an unbiased estimate.

    With signs s of ±1 at random, E (Σ s g)² = Σ g²: one backward pass gives a whole batch's sum, where one for
    each loss of each image would be exact. The relative error of an entry to which many images add is about
    √(2 / (batches · draws)).

    Args:
        model: in the mode to measure in.
        moved: parameters; those that the losses do not depend on get 0.
        passes: the images.
        losses: from logits BK and labels B, of any shape that starts with B.
        generator: on the CPU, for the signs.
        draws: of signs for each batch.
    """
    total, count = [torch.zeros_like(p) for p in moved], 0
    for batch in passes:
        values = losses(model(batch.images), batch.labels)
        for draw in range(draws):
            signs = torch.randint(2, values.shape, generator=generator).to(values) * 2 - 1
            grads = torch.autograd.grad(
                values, moved, signs, retain_graph=draw + 1 < draws, allow_unused=True
            )
            squared = filled(grads, moved)
            torch._foreach_addcmul_(total, squared, squared)
        count += len(values)
    torch._foreach_div_(total, float(count * draws))
    return total


def label_losses(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """-log p of the true label, B: behind the empirical Fisher matrix."""
    return F.cross_entropy(logits_BK, labels_B, reduction="none")


def expected_losses(logits_BK: Tensor, _labels_B: Tensor) -> Tensor:
    """-log p of every label, each with the root of its own probability in front, BK.

    The sum of their squared gradients is Σ_y p_y (∂ -log p_y)², the Fisher matrix's diagonal.
    """
    log_p_BK = logits_BK.log_softmax(1)
    return -log_p_BK * log_p_BK.detach().div(2).exp()
