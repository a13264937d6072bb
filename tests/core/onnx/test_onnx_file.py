"""What stands in the file: packed codes, exact offsets, biases apart, where it comes from, and no path."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from core.errors import BadInput
from core.onnx import export_onnx, libraries
from core.onnx.quantized import zero_point
from core.quant import FakeQuantizer, quantizers, weight_codes
from tests.core.onnx.exported import (
    constants,
    exported,
    graph_of,
    metadata,
    network,
    nodes,
    relative,
    run,
    toy_batch,
)
from tests.core.toy_problem import PLAIN, memorised_problem, seeded, toy_images

PACKED = {
    "2w2a": "INT4",
    "4w4a": "INT4",
    "5w5a": "INT8",
    "8w8a": "INT8",
    "4w4a-dsq": "UINT4",
    "3w4a-pact": "INT4",
    "4w4a-pact": "UINT4",
}


@pytest.mark.parametrize(("label", "kind"), PACKED.items())
def test_weights_are_their_codes_two_to_a_byte_where_they_fit(label, kind):
    model = network("lenet", label)
    stored = {each.name: each for each in graph_of(exported(model)).initializer}
    for name, codes in weight_codes(model).items():
        tensor = stored[f"{name}.weight.codes"]
        if name == "features.3":  # both ends have 8 bits
            assert onnx.TensorProto.DataType.Name(tensor.data_type) == kind
            assert len(tensor.raw_data) == (-(-codes.numel() // 2) if kind.endswith("4") else codes.numel())
        assert torch.equal(torch.from_numpy(onnx.numpy_helper.to_array(tensor).astype("int32")), codes)


def test_an_input_is_quantized_clipped_and_dequantized_with_its_offset_exact():
    model = network("lenet", "4w4a")
    with torch.no_grad():
        model.features[3].input_quantizer.offset.fill_(0.1234567)
    data = exported(model)
    made, held = nodes(data), constants(data)
    chain, value = [], made["features.3.sums"].input[0]
    while value in made and len(chain) < 5:
        chain.append(made[value].op_type)
        value = made[value].input[0]
    assert chain == ["Add", "DequantizeLinear", "Clip", "QuantizeLinear", "Sub"]
    assert held["features.3.input.offset"] == model.features[3].input_quantizer.offset.item()
    assert (held["features.3.input.qmin"], held["features.3.input.qmax"]) == (0, 15)
    assert held["features.3.input.zero"] == 0


def test_biases_come_apart():
    made = nodes(exported(network("lenet", "4w4a")))
    assert all(len(node.input) == 2 for node in made.values() if node.op_type in ("Conv", "Gemm"))
    assert made["features.0"].op_type == "Add"


def test_the_same_network_gives_the_same_bytes_without_a_path():
    facts = {"method": "qmul", "seed": "1"}
    first = exported(network("resnet18", "4w4a"), provenance=facts)
    assert first == exported(network("resnet18", "4w4a"), provenance=facts)
    assert metadata(first) == facts
    assert not any(
        part in first for part in (str(Path(__file__).parents[3]).encode(), b".py", b"/home", b"/tmp")
    )
    assert all(not node.doc_string and not node.metadata_props for node in graph_of(first).node)


def test_the_model_stays_as_it_was_and_any_number_of_images_goes_in():
    model = network("resnet18", "4w4a").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = exported(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert run(data, toy_batch(5)).shape == (5, 4)


class Twice(nn.Module):
    """A layer used twice, and one that changes its input in place, which is read again."""

    def __init__(self):
        super().__init__()
        self.layer, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)

    def forward(self, x):
        a = self.layer(x)
        b = self.relu(a)
        return (self.layer(b) * a).mean((2, 3))


def test_what_works_in_place_is_seen_by_whoever_reads_on():
    model = Twice().eval()
    with torch.no_grad():
        assert relative(run(exported(model), toy_batch()), model(toy_batch())) < 1e-6


def test_normalisations_fold_into_the_steps_of_channels_and_leave_codes():
    model = memorised_problem("resnet18").model
    plain, folded = exported(model), exported(model, fold_batchnorm=True)
    assert metadata(folded)["batchnorm"] == "folded"
    assert "BatchNormalization" not in {node.op_type for node in graph_of(folded).node}
    held = constants(folded)
    assert all((held[n] == v).all() for n, v in constants(plain).items() if n.endswith("weight.codes"))
    assert held["stages.0.0.conv1.weight.step"].shape == (8,)
    images = PLAIN.normalise(toy_images(200, 7).pixels)
    agree = run(folded, images).argmax(1) == run(plain, images).argmax(1)
    assert float(agree.float().mean()) > 0.98


def test_a_normalisation_that_turns_signs_around_stays():
    model = network("resnet18", "4w4a")
    with torch.no_grad():
        model.stem[1].weight[0] = -1
    left = [
        n.output[0]
        for n in graph_of(exported(model, fold_batchnorm=True)).node
        if n.op_type == "BatchNormalization"
    ]
    assert left == ["stem.1"]


def test_snapped_offsets_are_zero_points_and_said_to_be_another_network():
    model = network("lenet", "4w4a")
    with torch.no_grad():
        for _, quantizer in quantizers(model):
            if hasattr(quantizer, "offset"):
                quantizer.offset.copy_(-2.3 * quantizer.step)
    data = exported(model, snap_offsets=True)
    assert metadata(data)["offsets"] == "snapped"
    assert constants(data)["features.3.input.zero"] == 2
    assert "Sub" not in {node.op_type for node in graph_of(data).node}
    images = torch.randn(toy_batch().shape, generator=seeded())  # pixels lie on edges between codes
    apart = relative(run(data, images), run(exported(model), images))
    with torch.no_grad():
        for _, quantizer in quantizers(model):
            if hasattr(quantizer, "offset"):
                quantizer.offset.copy_(-zero_point(quantizer.step, quantizer.offset) * quantizer.step)
        assert relative(run(data, images), model(images)) < 1e-5 < apart


class Uneven(FakeQuantizer):
    """Powers of two, which no step and offset give."""

    def __init__(self):
        super().__init__(4, signed=False)
        self.initialise_(torch.zeros(1))

    def grid(self):
        return torch.tensor(0.1), None

    def _start(self, x):
        pass

    def _quantize(self, x):
        return 2 ** x.clamp(min=0.01).log2().round()


class Deciding(nn.Module):
    """What it computes depends on its input."""

    def forward(self, x):
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def after_a_layer(layer):
    return nn.Sequential(nn.Conv2d(3, 4, 3), layer)


def uneven():
    model = network("lenet", "4w4a")
    model.features[3].input_quantizer = Uneven()
    return model


def uncalibrated():
    model = network("lenet", "4w4a")
    model.features[3].input_quantizer.initialised.fill_(False)
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: after_a_layer(nn.LocalResponseNorm(2)), "layer '1' (LocalResponseNorm) has no ONNX form"),
        (
            lambda: after_a_layer(nn.Conv2d(4, 4, 3, padding="same")),
            "layer '1' (Conv2d) pads with zeros, same",
        ),
        (lambda: after_a_layer(Deciding()), "layer '1' (Deciding) the computation depends on values"),
        (
            lambda: after_a_layer(nn.BatchNorm2d(4, track_running_stats=False)),
            "layer '1' (BatchNorm2d) keeps no",
        ),
        (uneven, "layer 'features.3' has a quantizer (Uneven) that is no evenly spaced grid"),
        (uncalibrated, "quantizer 'features.3.input_quantizer' is not initialised"),
    ],
)
def test_what_cannot_be_said_in_onnx_is_one_line_that_names_the_layer(model, said):
    with pytest.raises(BadInput) as caught:
        export_onnx(model().eval(), toy_batch())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_a_library_that_is_missing_is_one_line_with_what_to_install(name, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(BadInput, match=rf"{name} is not installed here.*unlearn-grid\[export\]"):
        _ = libraries._Wanted(name).anything
