"""The parity check agrees where only rounding differs, does not where the computation does, and goes on."""

import json
from functools import partial
from itertools import chain

import pytest
import torch

from core.quant import QUANTIZERS
from core.unlearn import METHODS
from tests.gpu_check import method_items, parity, quantizer_items
from tests.gpu_check.deviation import DRAWS, Item, distance, largest
from tests.gpu_check.ledger import Ledger, code_digest

CPU = torch.device("cpu")
SLOW = partial(pytest.param, marks=pytest.mark.slow)


def item(name):
    (found,) = [item for item in parity.items(CPU) if item.name == name]
    return found


def test_every_quantizer_and_method_has_its_items():
    names = [found.name for found in parity.items(CPU)]
    assert len(names) == len(set(names))
    words = {word for name in names for word in name.split()}
    assert words >= {*QUANTIZERS, *METHODS, "2", "8", "resnet18", "mobilenetv2", "bfloat16"}


def test_deviations_are_relative_and_nothing_of_nothing_is_nothing():
    x, zero = torch.tensor([1.0, -4.0]), torch.zeros(2)
    assert largest(x, x + torch.tensor([0.0, 1.0])) == pytest.approx(0.25)
    assert distance({"a": x}, {"a": 2 * x}) == pytest.approx(1)
    assert distance({"a": x}, {"a": x + 1}, {"a": x - 1}) == pytest.approx(1)  # as far off as it went
    assert distance({"a": zero}, {"a": zero}) == 0
    assert distance({"a": zero}, {"a": x}) == float("inf")


def test_one_draw_that_agrees_is_enough_and_what_is_no_number_never_agrees():
    found = Item("", lambda draw: {"a": 1.0 if draw < 3 else 0.01}, {"a": 0.1}).check()
    assert (found["agrees"], found["draws"], found["deviations"]) == (True, 4, {"a": 0.01})
    found = Item("", lambda draw: {"a": float("nan") if draw else 2.0}, {"a": 0.1}).check()
    assert (found["agrees"], found["draws"], found["deviations"]) == (False, DRAWS, {"a": 2.0})


def on_the_second_call(monkeypatch, module, name, change):
    """Every comparison calls twice, the device second: `change` gets the function and its arguments then."""
    original, calls = getattr(module, name), []

    def other(*arguments):
        calls.append(name)
        return original(*arguments) if len(calls) % 2 else change(original, *arguments)

    monkeypatch.setattr(module, name, other)


def nudged(values, relative):
    noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(5)) * 2 - 1
    return values * (1 + noise * relative)


@pytest.mark.parametrize("relative", [2**-23, 0.01])
@pytest.mark.parametrize("name", ["network resnet18 4w4a", SLOW("network mobilenetv2 2w-dsq-perchannel")])
def test_layers_agree_up_to_rounding_and_no_further(monkeypatch, name, relative):
    def change(original, module, x, upstream):
        out, gradients = original(module, x, upstream)
        return nudged(out, relative), [
            {n: nudged(g, relative) for n, g in part.items()} for part in gradients
        ]

    on_the_second_call(monkeypatch, quantizer_items, "_pass", change)
    assert item(name).check()["agrees"] is (relative < 1e-6)


@pytest.mark.parametrize(("factor", "agrees"), [(1, True), (1.2, False)])
@pytest.mark.parametrize(
    "name", ["method qmul resnet18 fp float32", SLOW("method ft mobilenetv2 fp float32")]
)
def test_methods_agree_up_to_rounding_and_not_with_another_learning_rate(monkeypatch, name, factor, agrees):
    def change(original, *arguments):
        with monkeypatch.context() as patch:
            patch.setitem(method_items.SHORT, "lr", factor * method_items.SHORT["lr"])
            return original(*arguments)

    def layers_nudged(original, *arguments):
        problem = original(*arguments)
        for layer in problem.model.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(lambda _layer, _given, out: nudged(out, 2**-23))
        return problem

    on_the_second_call(monkeypatch, method_items, "_run", change)
    on_the_second_call(monkeypatch, method_items, "_problem", layers_nudged)
    assert item(name).check()["agrees"] is agrees


def test_a_second_visit_measures_what_the_first_did_not(monkeypatch, tmp_path, capsys):
    measured = []

    def two(_device):
        return iter([Item(n, lambda _, n=n: measured.append(n) or {"a": 0.0}, {"a": 1.0}) for n in "xy"])

    monkeypatch.setattr(parity, "items", two)
    assert parity.check(tmp_path, CPU, only="x")
    assert parity.check(tmp_path, CPU)
    assert measured == ["x", "y"]
    assert "| x | a 0.0e+00 (1e+00) | 1 | agrees |" in (tmp_path / parity.PAGE).read_text()
    monkeypatch.setattr(parity, "code_digest", lambda *_: "other code")
    assert parity.check(tmp_path, CPU)
    assert measured == ["x", "y", "x", "y"]
    assert "2 items, 0 of them apart" in capsys.readouterr().out


def test_a_ledger_that_cannot_be_read_begins_anew(tmp_path):
    (tmp_path / "a.json").write_text("{")
    ledger = Ledger(tmp_path / "a.json", {"code": code_digest("core")})
    assert ledger.entries == {}
    ledger.add("x", 1)
    assert json.loads((tmp_path / "a.json").read_text())["entries"] == {"x": 1}


@pytest.mark.slow
def test_the_cpu_agrees_with_itself(tmp_path):
    assert parity.check(tmp_path, CPU)
    entries = json.loads((tmp_path / parity.RESULTS).read_text())["entries"]
    exact = [e for name, e in entries.items() if "bfloat16" not in name]
    assert set(chain.from_iterable(e["deviations"].values() for e in exact)) == {0.0}
