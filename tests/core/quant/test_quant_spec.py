"""Labels of quantization settings: written, read back, and refused with a line that names what is wrong."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from core.errors import BadInput
from core.models import MODELS, build
from core.quant import QUANTIZERS, QuantSpec
from tests.core.toy_problem import FP, seeded

PLACES = {"ends": "full_precision", "shortcuts": "full_precision"}
PUBLISHED = {"quantizer": "lsq_released", "blocks": "released", **PLACES}

bits = st.none() | st.integers(2, 8)
specs = st.builds(
    QuantSpec,
    weight_bits=bits,
    activation_bits=bits,
    quantizer=st.sampled_from(sorted(QUANTIZERS)),
    ends=st.sampled_from(["eight_bits", "full_precision"]),
    granularity=st.sampled_from(["tensor", "channel"]),
    shortcuts=st.sampled_from(["quantized", "full_precision"]),
    blocks=st.sampled_from(["standard", "released"]),
)


def valid(spec):
    places = (spec.ends, spec.shortcuts) == ("full_precision", "full_precision")
    return spec.quantizes and (spec.blocks == "standard" or places)


@given(specs.filter(valid))
def test_every_valid_setting_is_read_back_from_its_label(spec):
    assert QuantSpec.parse(spec.label) == spec


@given(specs.filter(valid), specs.filter(valid))
def test_different_settings_have_different_labels(a, b):
    assert (a.label == b.label) == (a == b)


@pytest.mark.parametrize(
    ("label", "fields"),
    [
        ("4w4a-lsq", {"quantizer": "lsq"}),
        ("4w4a-perchannel", {"granularity": "channel"}),
        ("4w4a-fpshortcuts", {"shortcuts": "full_precision"}),
        (
            "4w4a-dsq-perchannel-fpends",
            {"quantizer": "dsq", "granularity": "channel", "ends": "full_precision"},
        ),
        ("4w4a-fpends-fpshortcuts-releasedblocks", {"blocks": "released", **PLACES}),
        ("4w4a-lsq_released", {"quantizer": "lsq_released"}),
        ("4w4a-released", PUBLISHED),
        ("4w4a-perchannel-released", {"granularity": "channel", **PUBLISHED}),
    ],
)
def test_labels_are_canonical(label, fields):
    spec = QuantSpec(weight_bits=4, activation_bits=4, **fields)
    assert spec.label == label
    assert QuantSpec.parse(label) == spec


@pytest.mark.parametrize(
    ("label", "same"),
    [
        ("4w4a-fpends-perchannel", "4w4a-perchannel-fpends"),
        ("4w8a-lsq_released-releasedblocks-fpends-fpshortcuts", "4w8a-released"),
        ("4w8a-lsq_released-released", "4w8a-released"),
        ("4w4a-lsq_plus-perchannel", "4w4a-perchannel"),
    ],
)
def test_other_ways_to_write_a_label_are_understood(label, same):
    assert QuantSpec.parse(label).label == same


def test_the_published_settings_of_the_networks():
    """Networks that the published code has not are quantized as its ResNet-18."""
    labels = {name: info.released_quant.label for name, info in MODELS.items()}
    assert labels == {**dict.fromkeys(MODELS, "4w8a-released"), "mobilenetv2": "2w-released"}


@pytest.mark.parametrize(
    ("label", "line"),
    [
        ("9w4a-pact", "quantizers: '9w4a-pact' asks for 9 weight bits; pact takes 2-8 (nearest: 8)"),
        ("4w1a-dsq", "quantizers: '4w1a-dsq' asks for 1 activation bits; dsq takes 2-8 (nearest: 2)"),
        ("16w", "quantizers: '16w' asks for 16 weight bits; lsq_plus takes 2-8 (nearest: 8)"),
        ("4w4a-pcat", "unknown quantizer or flag 'pcat': did you mean 'pact'?"),
        ("4w4a-fpend", "unknown quantizer or flag 'fpend': did you mean 'fpends'?"),
        ("4w4a-pact-perchanel", "unknown flag 'perchanel': did you mean 'perchannel'?"),
        ("4w4a-pact-dsq", "unknown flag 'dsq': (valid: "),
        (
            "4w4a-releasedblocks",
            "quantizers: '4w4a-releasedblocks' has blocks=released and ends=eight_bits, which contradict each other;"
            " released blocks go with ends=full_precision (fpends)",
        ),
        (
            "4w4a-fpends-releasedblocks",
            "quantizers: '4w4a-fpends-releasedblocks' has blocks=released and shortcuts=quantized, which contradict"
            " each other; released blocks go with shortcuts=full_precision (fpshortcuts)",
        ),
        (
            "4w4a-pact-released",
            "quantizers: '4w4a-pact-released' names pact, but released means lsq_released;",
        ),
        ("4w4a-fpends-fpends", "quantizers: '4w4a-fpends-fpends' is not a setting; write 4w4a"),
        ("released", "quantizers: 'released' is not a setting; write 4w4a"),
    ],
)
def test_a_label_that_cannot_be_says_why_in_one_line(label, line):
    with pytest.raises(BadInput, match=re.escape(line)) as error:
        QuantSpec.parse(label)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"blocks": "released"}, "blocks=released and ends=eight_bits"),
        ({"blocks": "released", "ends": "full_precision"}, "blocks=released and shortcuts=quantized"),
        ({"quantizer": "pcat"}, "unknown quantizer 'pcat': did you mean 'pact'?"),
    ],
)
def test_building_a_network_refuses_what_a_label_could_not_say(fields, line):
    with pytest.raises(BadInput, match=line):
        build("resnet18", 4, generator=seeded(), width=0.01, quant=QuantSpec(weight_bits=4, **fields))


def test_bits_that_one_quantizer_alone_does_not_take_are_refused(monkeypatch):
    monkeypatch.setitem(QUANTIZERS, "pact", replace(QUANTIZERS["pact"], bits=range(3, 6)))
    with pytest.raises(BadInput, match=r"asks for 2 weight bits; pact takes 3-5 \(nearest: 3\)"):
        QuantSpec.parse("2w-pact")
    with pytest.raises(BadInput, match=r"asks for 8 activation bits; pact takes 3-5 \(nearest: 5\)"):
        QuantSpec(activation_bits=8, quantizer="pact").check()
    assert QuantSpec.parse("2w-dsq").weight_bits == 2


def test_places_say_nothing_where_nothing_is_quantized():
    assert QuantSpec(blocks="released").label == "fp"
    QuantSpec(blocks="released").check()
    assert QuantSpec.parse("fp") == FP
