"""The registry of networks: shapes, sizes, and weights that follow from the generator alone."""

import pytest
import torch
from torch import nn

from core.errors import BadInput
from core.models import MODELS, build, check_weights_of, initialise_
from core.models.shapes import to_grid
from core.quant import QuantSpec, calibrate_
from tests.core.toy_problem import FP, differing, seeded, toy_images


@pytest.mark.parametrize("size", [16, 28, 32, 64])
@pytest.mark.parametrize("arch", MODELS)
def test_every_network_takes_every_image_size(arch, size):
    model = build(arch, 7, generator=seeded(), width=0.1)
    x = torch.randn(2, 3, size, size, generator=seeded(1))
    calibrate_(model, x)
    model.eval()
    logits = model(x)
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("arch", "count"),
    [
        ("mlp", 512_810),  # 2352·200 + 200 + 200·200 + 200 + 200·10 + 10
        ("lenet", 62_006),  # the usual 61,706, and two more channels to read
        ("convnet", 320_010),  # as dataset condensation counts it
        ("alexnet", 23_272_266),
        ("resnet9", 6_573_120),
    ],
)
def test_the_small_networks_have_the_usual_parameters(arch, count):
    model = build(arch, 10, generator=seeded(), quant=FP)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("size", [1, 3, 4, 7, 28, 30])
@pytest.mark.parametrize("side", [1, 2, 4, 28])
def test_a_grid_is_adaptive_average_pooling(size, side):
    x = torch.randn(2, 3, size, size + 1, generator=seeded(), dtype=torch.float64, requires_grad=True)
    ours, theirs = to_grid(x, side), nn.functional.adaptive_avg_pool2d(x, side)
    torch.testing.assert_close(ours, theirs)
    ours_back, theirs_back = (torch.autograd.grad(out.square().sum(), x)[0] for out in (ours, theirs))
    torch.testing.assert_close(ours_back, theirs_back)


def test_a_map_of_the_grids_size_is_left_alone():
    x = torch.randn(2, 3, 4, 4, generator=seeded())
    assert to_grid(x, 4) is x


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize(("arch", "cells"), [("alexnet", 2), ("convnet", 4)])
def test_images_of_28_and_32_pixels_fill_the_linear_layers_grid(arch, cells, size):
    """All but ConvNet's three cells of 28 pixels, which are what its own pooling leaves."""
    features = build(arch, 10, generator=seeded(), width=0.05, quant=FP).features
    expected = 3 if (arch, size) == ("convnet", 28) else cells
    assert features(torch.zeros(1, 3, size, size)).shape[-2:] == (expected, expected)


@pytest.mark.parametrize("arch", MODELS)
def test_width_scales_the_channels(arch):
    sizes = [
        sum(p.numel() for p in build(arch, 10, generator=seeded(), width=w).parameters())
        for w in (0.125, 0.25, 0.5)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_resnet18_never_has_fewer_than_eight_channels():
    model = build("resnet18", 10, generator=seeded(), width=0.01)
    assert {m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)} == {8}


def test_resnet18_for_ten_classes_has_11_17_million_parameters():
    model = build("resnet18", 10, generator=seeded(), quant=FP)
    assert sum(p.numel() for p in model.parameters()) == 11_173_962


def test_quantization_adds_three_scalars_per_layer():
    plain, quantized = (build("resnet18", 10, generator=seeded(), width=0.1, quant=q) for q in (FP, None))
    extra = sum(p.numel() for p in quantized.parameters()) - sum(p.numel() for p in plain.parameters())
    assert extra == 21 * 3


def test_resnet18_strides_are_those_for_small_images():
    model = build("resnet18", 10, generator=seeded(), width=0.05, quant=FP)
    x = torch.zeros(1, 3, 32, 32)
    sizes = [model.stem(x).shape[-1]]
    x = model.stem(x)
    for stage in model.stages:
        x = stage(x)
        sizes.append(x.shape[-1])
    assert sizes == [32, 32, 16, 8, 4]


def test_mobilenetv2_is_the_papers_half_width_network():
    """Section 6.5: first convolution 16 channels, last 1280; stem stride 1, stages 1,1,2,2,1,2,1."""
    model = build("mobilenetv2", 10, generator=seeded())
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions[0].out_channels == 16
    assert convolutions[0].stride == (1, 1)
    assert convolutions[-1].out_channels == 1280
    assert [c.stride[0] for c in convolutions if c.stride != (1, 1)] == [2, 2, 2]
    assert model.classifier[0].p == 0.2
    assert MODELS["mobilenetv2"].paper_quant.label == "2w"
    assert MODELS["resnet18"].paper_quant.label == "4w4a"


@pytest.mark.parametrize("arch", MODELS)
def test_weights_follow_from_the_generator_alone(arch):
    torch.manual_seed(0)
    first = build(arch, 4, generator=seeded(3), width=0.1)
    torch.manual_seed(1)
    second = build(arch, 4, generator=seeded(3), width=0.1)
    assert differing(first, second) == []
    assert differing(first, build(arch, 4, generator=seeded(4), width=0.1))


@pytest.mark.parametrize("label", ["4w4a", "4w8a-released"])
@pytest.mark.parametrize("arch", MODELS)
def test_a_file_is_checked_without_making_the_network(arch, label, tmp_path):
    """With the blocks that the quantization asks for, and whatever number of classes the file's head has."""
    quant, file = QuantSpec.parse(label), tmp_path / "weights.pth"
    whole = MODELS[arch].make(7, 0.5, quant)
    torch.save(whole.state_dict(), file)
    check_weights_of(arch, file, width=0.5, quant=quant)
    with pytest.raises(BadInput, match="another network"):
        check_weights_of(arch, file, width=0.25, quant=quant)


def test_building_draws_nothing_of_consequence_from_quantization():
    plain, quantized = (build("resnet18", 4, generator=seeded(), width=0.1, quant=q) for q in (FP, None))
    shared = plain.state_dict()
    assert differing(shared, {name: quantized.state_dict()[name] for name in shared}) == []


def test_initialisation_forgets_everything_that_was_learned():
    model = build("mobilenetv2", 4, generator=seeded(3), width=0.1)
    fresh = build("mobilenetv2", 4, generator=seeded(3), width=0.1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.37)
            elif tensor.dtype == torch.int64:
                tensor.add_(5)
    initialise_(model, seeded(3))
    assert differing(model, fresh) == []


def test_initial_weights_have_the_stated_spread():
    layer = nn.Conv2d(16, 32, 3, groups=2)
    initialise_(layer, seeded())
    assert float(layer.weight.detach().std()) == pytest.approx((2 / (9 * 32 / 2)) ** 0.5, rel=0.05)
    assert layer.bias.tolist() == [0.0] * 32
    linear = nn.Linear(64, 100)
    initialise_(linear, seeded())
    largest = float(linear.weight.detach().abs().max())
    assert 0.99 / 8 < largest <= 1 / 8
    assert float(linear.bias.detach().abs().max()) <= 1 / 8


def test_parameters_are_channels_last():
    model = build("resnet18", 4, generator=seeded(), width=0.2)
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)


def test_logits_of_an_image_do_not_depend_on_its_neighbours_in_eval_mode():
    model = build("resnet18", 4, generator=seeded(), width=0.01)
    x = toy_images(8).pixels.float() / 255
    calibrate_(model, x)
    model.eval()
    torch.testing.assert_close(model(x)[:3], model(x[:3]))


def test_unknown_architecture_names_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'mobilenetv2'"):
        build("mobilnetv2", 10, generator=seeded())
