"""Class activation maps: which parts of an image speak for a class (Grad-CAM, Selvaraju et al. 2017)."""

from __future__ import annotations

from core.data import Images, Transform
from core.errors import BadInput
from core.lazy import F, Tensor, nn, torch


def activation_maps(
    model: nn.Module, images: Images, transform: Transform, layer: str | None = None
) -> Tensor:
    """Maps of each image for its own label, float32 N x H x W in 0 to 1, in eval mode; 0 where nothing speaks for it.

    ReLU(Σ_c α_c A_c) of a convolution's channels A, α the mean gradient of the label's logit, enlarged to
    the image and divided by its largest value. For networks that end in a mean over places and one linear layer these
    are the class activation maps of Zhou et al. (2016).

    layer: name of the convolution; None: the last one. BadInput if there is no such layer.
    """
    features: list[Tensor] = []
    watched = _convolution(model, layer)
    handle = watched.register_forward_hook(lambda _m, _i, output: features.append(output))
    training = model.training
    model.eval()
    try:
        logits_NK = model(transform.normalise(images.pixels)).float()
        score = logits_NK.gather(1, images.labels[:, None]).sum()
        (gradient_NCHW,) = torch.autograd.grad(score, features)
    finally:
        handle.remove()
        model.train(training)
    weights_NC = gradient_NCHW.mean((2, 3), keepdim=True)
    maps_NHW = F.relu((weights_NC * features[0]).sum(1)).detach()
    size = list(images.pixels.shape[-2:])
    maps_NHW = F.interpolate(maps_NHW[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    largest = maps_NHW.amax((1, 2), keepdim=True)
    return maps_NHW / largest.clamp(min=torch.finfo(maps_NHW.dtype).tiny)


def _convolution(model: nn.Module, layer: str | None) -> nn.Module:
    """The named convolution, or the last one in the order of the model's parts."""
    found = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    if not found:
        raise BadInput("activation maps need a network with convolutions, and this one has none")
    name = list(found)[-1] if layer is None else layer
    if name not in found:
        raise BadInput(f"no convolution '{name}'; the last one is '{list(found)[-1]}'")
    return found[name]
