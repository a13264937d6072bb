"""Which parameters are of which kind, where a method treats the kinds differently."""

from torch import nn

NORMALISATION = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def normalisation_parameters(model: nn.Module) -> set[str]:
    """Names of the scales and biases of normalisation layers."""
    layers = ((name, m) for name, m in model.named_modules() if isinstance(m, NORMALISATION))
    return {f"{name}.{inner}" for name, m in layers for inner, _ in m.named_parameters()}
