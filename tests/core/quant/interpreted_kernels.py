"""Run by test_quant_kernels with TRITON_INTERPRET=1: prints how far the kernels are from the plain expressions."""

import itertools
import json
from unittest.mock import patch

import torch

from core.quant import device, kernels
from core.quant.dsq import _quantized
from core.quant.lsq_plus import lsq_plus
from core.quant.pact import pact

CPU = torch.device("cpu")


def leaf(value):
    return torch.tensor(value, requires_grad=True)


QUANTIZERS = {
    "lsq": lambda x, step: lsq_plus(x, step, None, -8, 7, 0.1),
    "lsq_plus": lambda x, step: lsq_plus(x, step, leaf(0.02), 0, 15, 0.1),
    "pact": lambda x, step: pact(x, step * 9, 4),
    "dsq": lambda x, step: _quantized(x, -8 * step, step * 7, 4, 0.4),
}
LAYOUTS = {
    "flat": lambda x: x,
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "other gradient": lambda x: x,
}
SHAPES = ((1, 1, 1, 1), (2, 3, 5, 7), (4, 8, 16, 16))


def numbers(shape, dtype, seed):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    x.flatten()[:3] = torch.tensor([0.0, 0.13 * 7, -0.13 * 8])[: x.numel()]  # on the bounds
    return x


def results(quantize, layout, shape, dtype):
    x = LAYOUTS[layout](numbers(shape, dtype, 1)).requires_grad_()
    grad = numbers(shape, dtype, 2)
    grad = grad.to(memory_format=torch.channels_last) if layout == "other gradient" else LAYOUTS[layout](grad)
    step = leaf(0.13)
    out = quantize(x, step)
    return [out.detach(), *torch.autograd.grad(out, (x, step), grad)]


def deviations():
    for (name, quantize), layout, shape, dtype in itertools.product(
        QUANTIZERS.items(), LAYOUTS, SHAPES, (torch.float32, torch.bfloat16)
    ):
        plain = results(quantize, layout, shape, dtype)
        with (
            patch.object(torch.Tensor, "is_cuda", True),
            patch.object(device, "_agreeing", lambda _: kernels),
        ):
            ours = results(quantize, layout, shape, dtype)
        largest = [float((a.float() - b.float()).abs().max()) for a, b in zip(ours, plain, strict=True)]
        same = [a.dtype == b.dtype for a, b in zip(ours, plain, strict=True)]
        same.append(ours[0].stride() == plain[0].stride())
        scale = float(plain[2].abs()) + float(shape[0] * shape[1]) ** 0.5
        yield {
            "case": [name, layout, list(shape), str(dtype)],
            "largest": largest,
            "alike": all(same),
            "scale": scale,
        }


if __name__ == "__main__":
    print(json.dumps({"cases": list(deviations()), "self_check": device.deviation(kernels, CPU)}))
