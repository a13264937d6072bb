"""The file computes what the network does: node by node for networks, quantizers and granularities, and as a whole."""

import pytest
import torch

from core.models import MODELS, build
from core.onnx import export_onnx, layer_by_layer
from core.quant import QUANTIZERS, QuantSpec, calibrate_, quantizers
from tests.core.onnx.exported import exported, network, relative, run, run_as_written, toy_batch
from tests.core.toy_problem import PLAIN, memorised_problem, seeded, toy_images

BITS = ("2w2a", "3w3a", "4w4a", "8w8a", "4w", "4a")
ROUNDING = 2e-6  # of sums in another order, relative to the largest of them
CASES = [(arch, label) for arch in MODELS for label in ("4w4a", "2w")]
CASES += [("lenet", f"{bits}-{q}") for q in QUANTIZERS for bits in BITS]
CASES += [("lenet", f"{bits}-{q}-perchannel") for q in QUANTIZERS for bits in ("2w2a", "8w8a")]
CASES += [("resnet18", f"3w3a-{q}-perchannel") for q in QUANTIZERS]
CASES += [("resnet18", label) for label in ("4w8a-released", "4w4a-fpends-fpshortcuts", "fp")]


@pytest.mark.parametrize(("arch", "label"), CASES)
def test_every_node_gives_what_the_network_gives_for_its_inputs(arch, label):
    model, images = network(arch, label), toy_batch()
    data = exported(model)
    found = layer_by_layer(model, data, images)
    inputs = [name for name, _ in quantizers(model) if name.endswith("input_quantizer")]
    assert sum(each.codes > 0 for each in found) == len(inputs)
    assert [each for each in found if each.differing] == []
    assert [each for each in found if each.error > ROUNDING] == []
    # optimisers of the runtime that round biases and float weights to integers find nothing to do
    assert relative(run(data, images), run_as_written(data, images)) < 1e-5


def test_a_trained_network_and_its_file_decide_alike():
    model = memorised_problem("resnet18").model
    data = exported(model)
    for seed, size in ((0, 96), (7, 400)):
        images = PLAIN.normalise(toy_images(size, seed).pixels)
        with torch.no_grad():
            assert torch.equal(run(data, images).argmax(1), model(images).argmax(1))


@pytest.mark.slow
@pytest.mark.parametrize("arch", MODELS)
@pytest.mark.parametrize("label", [f"{bits}-{q}" for q in QUANTIZERS for bits in ("2w2a", "4w4a", "8w8a")])
def test_every_quantizer_in_every_network(arch, label):
    test_every_node_gives_what_the_network_gives_for_its_inputs(arch, label)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["vgg11_bn", "mobilenet_v3_small", "densenet121", "efficientnet_b0", "resnet50"]
)
def test_networks_of_torchvision(name):
    model = build(f"tv:{name}", 4, generator=seeded(), quant=QuantSpec.parse("4w4a"))
    images = torch.randn((4, 3, 32, 32), generator=seeded(1))
    calibrate_(model, images).eval()
    found = layer_by_layer(model, export_onnx(model, images), images)
    assert sum(each.differing for each in found) == 0
    assert max(each.error for each in found) < ROUNDING
