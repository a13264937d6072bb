"""A network as a function to its features."""

from typing import Any

import torch
from torch import Tensor, nn

from core.models.low_rank import weighted_layers


class Features(nn.Module):
    """A network whose output are its features, BD, and which stays in eval mode whatever it is told."""

    def __init__(self, model: nn.Module, aligned: int) -> None:
        super().__init__()
        self.model = model
        self._inputs: list[Tensor] = []
        for layer in list(weighted_layers(model).values())[-aligned:]:
            layer.register_forward_pre_hook(self._keep)
        self.train()

    def train(self, _mode: bool = True) -> "Features":
        """Eval mode: statistics of normalisation layers neither move nor change with the batch."""
        return super().train(False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The aligned layers' inputs side by side, float32."""
        self._inputs.clear()
        self.model(x_BCHW)
        return torch.cat([x.float() for x in self._inputs], 1)

    def _keep(self, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0]
        self._inputs.append(x.flatten(2).mean(2) if x.dim() > 2 else x)
