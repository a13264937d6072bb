"""Any classifier of torchvision by its name there, as `tv:resnext50_32x4d`."""

from __future__ import annotations

from functools import cache

from core.errors import BadInput, unknown
from core.lazy import nn, torch
from core.quant import QuantSpec

PREFIX = "tv:"

_WITH_AUXILIARY_LOGITS = frozenset({"googlenet", "inception_v3"})


@cache
def torchvision_names() -> tuple[str, ...]:
    """The names that `tv:` takes: every classifier but those that train on auxiliary logits beside their own."""
    import torchvision.models  # seconds to import, and only for those who ask for it

    found = torchvision.models.list_models(module=torchvision.models)
    return tuple(name for name in found if name not in _WITH_AUXILIARY_LOGITS)


def check_torchvision_name(name: str) -> None:
    """Raises BadInput, with the nearest valid name, for a network that torchvision has not."""
    if name not in torchvision_names():
        raise unknown(
            "architecture", f"{PREFIX}{name}", (f"{PREFIX}{known}" for known in torchvision_names())
        )


def torchvision_network(name: str, classes: int, width: float, _quant: QuantSpec) -> nn.Module:
    """The network with `classes` logits, its weights not drawn yet. Raises BadInput for a width other than 1."""
    from torchvision.models import get_model

    if width != 1:
        raise BadInput(f"widths: {PREFIX}{name} has one width; leave widths.{PREFIX}{name} out")
    with torch.random.fork_rng(devices=[]):  # torchvision draws weights from the global generator
        model: nn.Module = get_model(name, weights=None, num_classes=classes)
    return model


def torchvision_full_precision(name: str, quant: QuantSpec) -> tuple[str, ...]:
    """Names of the layers that are not quantized: ResNet's shortcuts if so asked, and attention's projections.

    Those of Swin and ViT are Linear layers that nobody calls: attention reads their weights past any quantizer.
    """
    if not quant.quantizes:
        return ()
    with torch.device("meta"):
        layers = dict(torchvision_network(name, 2, 1.0, quant).named_modules())
    spared = {
        f"{owner}.{inner}"
        for owner, m in layers.items()
        if _reads_weights(m)
        for inner in ("qkv", "proj", "out_proj")
    }
    if quant.shortcuts == "full_precision":
        spared |= {inner for inner in layers if inner.endswith(".downsample.0")}
    return tuple(inner for inner in layers if inner in spared)


def _reads_weights(module: nn.Module) -> bool:
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    return isinstance(module, nn.MultiheadAttention | ShiftedWindowAttention)
