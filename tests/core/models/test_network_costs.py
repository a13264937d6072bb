"""Multiply-accumulates are counted on the networks themselves, and the committed table is what counting gives."""

import subprocess
import sys

import pytest

from core.errors import BadInput
from core.models import MODELS
from core.network_costs import (
    WIDTHS,
    class_counts,
    counted_parameters,
    image_settings,
    measured,
    megamacs,
    parameters,
)


@pytest.mark.parametrize("name", MODELS)
def test_the_table_is_what_a_forward_pass_takes_else_run_make_costs(name):
    for pixels, classes in image_settings():
        counted = measured(name, MODELS[name].width, pixels, classes)
        assert megamacs(name, MODELS[name].width, pixels, classes) == counted
    assert megamacs(name, WIDTHS[0], 16, 10) == measured(name, WIDTHS[0], 16, 10)
    for classes in class_counts():
        assert parameters(name, MODELS[name].width, classes) == counted_parameters(
            name, MODELS[name].width, classes
        )


@pytest.mark.parametrize(
    ("name", "pixels", "classes", "printed"),
    [
        ("tv:resnet18", 224, 1000, 1814),
        ("tv:resnext50_32x4d", 224, 1000, 4230),
        ("tv:swin_t", 224, 1000, 4491),
    ],
)
def test_counts_are_those_that_torchvision_prints(name, pixels, classes, printed):
    assert megamacs(name, 1.0, pixels, classes) == pytest.approx(printed, rel=1e-3)


def test_the_mlp_by_hand():
    """Two hidden layers of 200 units behind three channels of 28 × 28 pixels."""
    weights = 3 * 784 * 200 + 200 * 200 + 200 * 10
    assert measured("mlp", 1.0, 28, 10) == pytest.approx(weights / 1e6)
    assert parameters("mlp", 1.0, 10) == weights + 200 + 200 + 10


def test_a_network_that_does_not_take_such_images_says_so():
    with pytest.raises(BadInput, match=r"tv:vit_b_16 does not take images of 32 px \(Wrong image height"):
        megamacs("tv:vit_b_16", 1.0, 32, 10)


def test_what_is_in_the_table_builds_no_network():
    code = (
        "from core import network_costs as c\n"
        "c.measured = c.counted_parameters = None\n"
        "print(c.megamacs('resnet18', 0.125, 16, 10), c.megamacs('mobilenetv2', 0.5, 64, 200))\n"
        "print(c.parameters('mlp', 1, 10))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [float(word) for word in done.stdout.split()] == pytest.approx(
        [2.218624, 112.08, 512810], rel=1e-4
    )
