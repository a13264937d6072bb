"""Masks that give each class channels of its own, learned while a network trains (ERM, Lin et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.data import Batch
from core.lazy import Tensor, nn, no_grad, torch
from core.unlearn.hooks import Part, Setting, Training
from core.unlearn.parameters import last_linear

MASK = "mask"
_DENSITY, _OVERLAP = 0.1, 0.1  # up to which entries cost nothing; weight of the products of columns
_MOMENTUM, _DECAY = 0.9, 5e-4  # of the mask's own steps, as published


def mask_regulariser(mask_CK: Tensor) -> Tensor:
    """relu(‖M‖₁ - 0.1 C K) + 0.1 Σ_{i<j} M_iᵀM_j over its columns."""
    size = (mask_CK.abs().sum() - _DENSITY * mask_CK.numel()).relu()
    return size + _OVERLAP * torch.triu(mask_CK.T @ mask_CK, diagonal=1).sum()


def clip_mask(mask_CK: Tensor) -> Tensor:
    """Rows divided by their largest entry, clamped to 0..1; 0 where a row has no positive entry."""
    largest_C1 = mask_CK.amax(1, keepdim=True)
    return torch.where(largest_C1 > 0, mask_CK / largest_C1.clamp(min=1e-12), 0.0).clamp(0, 1)


def usable_channels(mask_CK: Tensor, forgotten: Sequence[int]) -> Tensor:
    """True for channels that no forgotten class has a positive entry at, bool C; all of them for no class."""
    return (mask_CK[:, list(forgotten)] <= 0).all(1)


def cut_mask(mask_CK: Tensor, keep: float) -> Tensor:
    """The mask with at most the share of channels left to each class, those with the largest entries."""
    count = max(1, int(keep * len(mask_CK)))
    kept = torch.zeros_like(mask_CK).scatter(0, mask_CK.topk(count, 0).indices, 1.0)
    return mask_CK * kept


class Masking(Part):
    """The mask's part in the original's training."""

    def __init__(self, training: Training, setting: Setting) -> None:
        super().__init__(training)
        self.setting, classifier = setting, last_linear(training.model)
        shape, device = (classifier.in_features, training.classes), training.images.pixels.device
        self.mask_CK = torch.full(shape, 0.5, device=device, requires_grad=True)
        self.momentum_CK = torch.zeros(shape, device=device)
        self.labels_B: Tensor | None = None  # of the batch at hand, in an epoch with the mask
        self.optimizer: torch.optim.SGD | None = None
        self._handle = classifier.register_forward_pre_hook(self._apply)

    def on_optimizer(self, optimizer: torch.optim.SGD) -> None:
        """The mask follows its learning rate."""
        self.optimizer = optimizer

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """The usual ones; the mask looks at their labels."""
        period = self.setting["period"]
        masks = epoch % period >= period - self.setting["masked"]
        for batch in super().batches(epoch, generator):
            self.labels_B = batch.labels if masks else None
            yield batch
        self.labels_B = None

    def on_update(self) -> None:
        """A step of the mask, on the gradient of the batch and of its own loss."""
        if self.labels_B is None or self.mask_CK.grad is None:
            return
        (own,) = torch.autograd.grad(mask_regulariser(self.mask_CK), self.mask_CK)
        assert self.optimizer is not None
        with torch.no_grad():
            gradient = self.mask_CK.grad + self.setting["regularisation"] * own + _DECAY * self.mask_CK
            self.momentum_CK.mul_(_MOMENTUM).add_(gradient)
            moved = self.mask_CK - self.optimizer.param_groups[0]["lr"] * self.momentum_CK
            self.mask_CK.copy_(clip_mask(moved))
        self.mask_CK.grad = None

    def finish(self, model: nn.Module) -> None:  # noqa: ARG002
        """The network goes on without the mask, which is cut."""
        self._handle.remove()
        self.mask_CK = cut_mask(self.mask_CK.detach(), self.setting["keep"])

    def kept(self) -> dict[str, Tensor]:
        """The mask, CK."""
        return {MASK: self.mask_CK.detach()}

    def remembered(self) -> dict[str, Tensor]:
        """The mask and its momentum."""
        return {MASK: self.mask_CK.detach(), "momentum": self.momentum_CK}

    @no_grad
    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Takes them back."""
        self.mask_CK.copy_(tensors[MASK])
        self.momentum_CK.copy_(tensors["momentum"])

    def _apply(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Features times the mask of the image's class, while the network trains with it."""
        if self.labels_B is None or not layer.training:
            return None
        return (inputs[0] * self.mask_CK[:, self.labels_B].T,)
