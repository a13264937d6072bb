"""What every fake quantizer shares: an integer range, a one-time initialisation from data, and validity."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from core.quant.codes import Codes
from core.quant.fused import wide

SMALLEST_STEP = 1e-8  # steps are kept at or above this after every update

Shape = tuple[int, ...]  # of a weight's step: () for the tensor, (C_out, 1, ...) for one per output channel


def integer_range(bits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest integer code: signed -2^(b-1)..2^(b-1)-1, unsigned 0..2^b-1 (eq. 1)."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


class FakeQuantizer(nn.Module):
    """A quantize-dequantize node; subclasses own the parameters and say how they start.

    `initialised` is a buffer, so that a loaded checkpoint never starts over: re-initialising steps from
    data after a reload would silently undo training (a known fault of public LSQ+ code).
    """

    initialised: Tensor

    def __init__(self, bits: int, signed: bool) -> None:
        super().__init__()
        self.bits = bits
        self.qmin, self.qmax = integer_range(bits, signed)
        self.register_buffer("initialised", torch.tensor(False))
        self._ready = False  # mirrors the buffer, so that forward needs no host synchronisation

    @torch.no_grad()
    def initialise_(self, x: Tensor) -> None:
        """Sets the parameters from one tensor of data and marks the quantizer initialised."""
        self._start(x.detach())
        self.initialised.fill_(True)
        self._mirror()

    def forward(self, x: Tensor) -> Tensor:
        """Fake-quantized x, same shape and dtype. Raises RuntimeError before initialisation."""
        if not self._ready:
            raise RuntimeError("quantizer used before its step was set; call core.quant.calibrate_ first")
        return self._quantize(x)

    @property
    def ready(self) -> bool:
        """Whether its parameters were set from data or loaded."""
        return self._ready

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """Step and offset (None: zero) of the values behind the codes, each broadcastable to x."""
        raise NotImplementedError

    def codes(self, x: Tensor) -> Tensor:
        """The integer codes of x as int32 in qmin..qmax, same shape: what an integer kernel would store."""
        step, offset = self.grid()
        shifted = wide(x) if offset is None else wide(x) - offset
        return (shifted / step).clamp(self.qmin, self.qmax).round().int()

    def decode(self, codes: Tensor) -> Tensor:
        """The values that integer codes stand for, same shape: exactly what forward returns for them."""
        step, offset = self.grid()
        return codes * step if offset is None else codes * step + offset

    def in_bytes(self, x: Tensor) -> Codes | None:  # noqa: ARG002
        """The codes of x for integer operators (uint8 for a layer's input, int8 for a weight), differentiable as x is.

        None for a quantizer that cannot say them in a byte, and for an x that has a NaN.
        """
        return None

    def learned_step(self) -> Tensor | None:
        """The step as the parameters have it now; None for a grid that is not learned."""
        return self.grid()[0].detach()

    def fault(self) -> str | None:
        """What makes the state invalid (not initialised, not finite, not positive), or None."""
        if not bool(self.initialised):
            return "not initialised"
        if not all(bool(torch.isfinite(p).all()) for p in self.parameters()):
            return "not finite"
        if not all(bool((step > 0).all()) for step in self.steps()):
            return "step is not positive"
        return None

    def steps(self) -> list[nn.Parameter]:
        """The parameters that must stay positive and that the step is proportional to."""
        return []

    def limits(self) -> tuple[nn.Parameter, nn.Parameter] | None:
        """Lower and upper end of the range, for a quantizer that learns these instead of a step."""
        return None

    def keep_valid_(self) -> None:
        """Moves what an update made invalid, beside the steps, to the nearest valid value."""

    def _start(self, x: Tensor) -> None:
        raise NotImplementedError

    def _quantize(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _mirror(self) -> None:
        """Copies what forward needs from the buffers to plain attributes, which cost no synchronisation."""
        self._ready = bool(self.initialised)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._mirror()


def shared_dims(shape: Shape) -> tuple[int, ...] | None:
    """The dimensions of a weight that share one step of this shape; None: all of them."""
    return tuple(range(1, len(shape))) or None


def weight_grad_scale(w: Tensor, shape: Shape, qmax: int) -> float:
    """LSQ's g = 1/sqrt(N · qmax), N the number of weights that share a step."""
    return 1 / math.sqrt(w.numel() // math.prod(shape) * qmax)


def quantizers(model: nn.Module) -> Iterator[tuple[str, FakeQuantizer]]:
    """Every fake quantizer of a model with its name."""
    return ((name, m) for name, m in model.named_modules() if isinstance(m, FakeQuantizer))


def quantizer_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters that belong to quantizers (steps, offsets, clips)."""
    return {f"{name}.{inner}" for name, q in quantizers(model) for inner, _ in q.named_parameters()}


def quantizer_faults(model: nn.Module) -> dict[str, str]:
    """Quantizers whose state is invalid, with the reason; empty for a healthy model."""
    found = ((name, q.fault()) for name, q in quantizers(model))
    return {name: fault for name, fault in found if fault is not None}


@torch.no_grad()
def keep_valid_(model: nn.Module) -> None:
    """Keeps every quantizer valid after an update (steps positive: ALGORITHMS 6.6)."""
    found = [quantizer for _, quantizer in quantizers(model)]
    steps: list[Tensor] = [step for quantizer in found for step in quantizer.steps()]
    if steps:
        torch._foreach_clamp_min_(steps, SMALLEST_STEP)
    for quantizer in found:
        quantizer.keep_valid_()
