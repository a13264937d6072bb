"""The CUDA kernels without a GPU: interpreted on the CPU, and compiled for GPUs that are not there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from core.quant import device
from core.quant.fused import pass_inside, round_to_grid

triton = pytest.importorskip("triton")
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def interpreted():
    """What `interpreted_kernels` prints."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(HERE.parents[2])}
    command = [sys.executable, HERE / "interpreted_kernels.py"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_float32_values_and_gradients_are_those_of_the_plain_expressions(interpreted):
    cases = [c for c in interpreted["cases"] if c["case"][3] == "torch.float32"]
    assert len(cases) == 4 * 3 * 3
    for case in cases:
        values, passed, step = case["largest"]
        assert values == 0, case
        assert passed <= (1e-5 if case["case"][0] == "dsq" else 0), case  # a sigmoid rounds as it likes
        assert step <= 1e-5 * case["scale"], case
        assert case["alike"], case


def test_bfloat16_differs_by_rounding_alone(interpreted):
    """The interpreter cuts off where a GPU rounds, which is up to one unit in the last of 8 bits."""
    cases = [c for c in interpreted["cases"] if c["case"][3] == "torch.bfloat16"]
    assert len(cases) == 4 * 3 * 3
    for case in cases:
        values, passed, step = case["largest"]
        assert values <= 2**-7 * 1.17, case
        assert passed <= 2**-7 * 4, case
        assert step <= 2e-2 * case["scale"], case
        assert case["alike"], case


def test_the_check_that_a_device_must_pass_passes(interpreted):
    assert interpreted["self_check"] == ""


POINTERS = ("grad_ptr", "x_ptr", "passed_ptr", "out_ptr")


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(
    ("name", "rule", "dtype"),
    [("_forward", None, "*fp32"), ("_forward", None, "*bf16")]
    + [("_backward", rule, "*bf16") for rule in ("lsq", "pact", "dsq")],
)
def test_kernels_compile_for_gpus_with_exact_division_and_no_fused_sums(name, rule, dtype, capability):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from core.quant import kernels

    function = getattr(kernels, name)
    constants = {"BLOCK": 4096} | ({"RULE": rule} if rule else {})
    kinds = dict.fromkeys(function.arg_names, "fp32") | {"n": "i32"} | dict.fromkeys(constants, "constexpr")
    kinds |= {a: dtype if a in POINTERS else "*fp32" for a in function.arg_names if a.endswith("_ptr")}
    source = ASTSource(fn=function, signature=kinds, constexprs=constants)
    found = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=kernels._EXACT)
    assert len(found.asm["cubin"]) > 0
    assert re.search(r"\bfma\.rn\.f32", found.asm["ptx"]) is None
    divisions = set(re.findall(r"\bdiv\.(\w+)\.f32", found.asm["ptx"]))
    assert (
        divisions == {None: {"rn"}, "lsq": {"rn"}, "pact": set(), "dsq": {"rn", "full"}}[rule]
    )  # full: a sigmoid's


def test_a_device_on_which_they_fail_is_told_and_gets_the_plain_expressions():
    device._agreeing.cache_clear()
    with pytest.warns(UserWarning, match="quantizers take several passes on cuda:7: "):
        assert device._agreeing(torch.device("cuda:7")) is None
    device._agreeing.cache_clear()


def test_tensors_on_cpus_and_steps_per_channel_take_the_plain_expressions():
    assert device.kernels(torch.ones(2, 3), torch.ones(())) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "is_cuda", True)
        patch.setattr(device, "_agreeing", lambda _device: "kernels")
        assert device.kernels(torch.ones(2, 3), torch.ones(())) == "kernels"
        assert device.kernels(torch.ones(2, 3), torch.ones(2, 1)) is None
        assert device.kernels(torch.ones(4, 4)[:, ::2], torch.ones(())) is None


def test_kernels_that_give_other_numbers_are_told_apart():
    def kernels(values=0.0, gradients=0.0):
        def backward(_rule, grad, x, step, offset, qmin, qmax, *_):
            passed = pass_inside(grad, x, step * qmin + offset, step * qmax + offset)
            out = round_to_grid(x, step, offset, qmin, qmax)
            return passed + gradients, (grad * out - passed * x).sum(), (grad - passed).sum()

        return SimpleNamespace(round_to_grid=lambda *given: round_to_grid(*given) + values, backward=backward)

    cpu = torch.device("cpu")
    assert device.deviation(kernels(values=1e-6), cpu).endswith("other values")
    assert device.deviation(kernels(gradients=1e-6), cpu).endswith("other gradients (lsq)")
    assert device.deviation(kernels(), cpu).endswith(
        "other sums (pact)"
    )  # LSQ's are right, PACT's are not these
