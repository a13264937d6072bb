"""Method labels: one spelling for each variant, values checked against the method, published sets by data set."""

import json
from typing import Annotated, Literal, get_args, get_origin

import pytest
from hypothesis import assume, given, settings, strategies as st

from core.errors import BadInput
from core.unlearn import METHODS
from orchestrator.spec import titles
from orchestrator.spec.labels import parse_method, released_options, undone_ablation, worded

NAMES = [name for name in METHODS if name != "retrain"]


def values_of(annotation):
    """Values that a parameter of this type takes."""
    if annotation is bool:
        return st.booleans()
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if annotation is int:
        return st.integers(1, 500)
    if get_origin(annotation) is Annotated:
        return values_of(get_args(annotation)[0])
    if type(None) in get_args(annotation):
        return st.none() | values_of(get_args(annotation)[0])
    assert annotation is float
    return st.floats(1e-9, 0.9)


@st.composite
def settings_of_methods(draw):
    """A method's name and some of its options, in any order."""
    name = draw(st.sampled_from(NAMES))
    fields = METHODS[name].params.model_fields
    chosen = draw(st.lists(st.sampled_from(sorted(fields)), unique=True, min_size=1))
    return name, {option: draw(values_of(fields[option].annotation)) for option in chosen}


def spelled(name, options):
    texts = (f"{o}={v if isinstance(v, str) else json.dumps(v)}" for o, v in options.items())
    return ":".join([name, *texts])


@settings(max_examples=200, deadline=None)
@given(settings_of_methods(), st.sampled_from([None, "paper", "released"]))
def test_printing_and_parsing_are_inverse(chosen, protocol):
    name, options = chosen
    assume((options.get("normaliser"), options.get("order")) != ("weights", "sequential"))
    variant = parse_method(spelled(name, options | ({"protocol": protocol} if protocol else {})))
    assert (variant.name, variant.options, variant.protocol) == (name, options, protocol)
    assert variant.method is METHODS[name]
    assert parse_method(variant.label) == variant
    backwards = ":".join([name, *reversed(variant.label.split(":")[1:])])
    assert parse_method(backwards).label == variant.label


@pytest.mark.parametrize("name", METHODS)
def test_a_plain_name_is_its_own_label(name):
    variant = parse_method(name)
    assert (variant.label, variant.name, variant.options, variant.protocol) == (name, name, {}, None)


@pytest.mark.parametrize(
    ("label", "canonical"),
    [
        ("qmul:order=sequential:label_rule=released", "qmul:label_rule=released:order=sequential"),
        ("ft:lr=1e-1", "ft:lr=0.1"),
        ("ft:lr=1", "ft:lr=1.0"),
        ("rl:true_label_possible=1", "rl:true_label_possible=true"),
        ("ft:step_trust=null", "ft:step_trust=null"),
        ("qmul:norm_labels=true", "qmul:norm_labels=true"),
        ('qmul:norm_labels="true"', "qmul:norm_labels=true"),
    ],
)
def test_one_variant_has_one_label(label, canonical):
    assert parse_method(label).label == canonical


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("qmull", "did you mean 'qmul'"),
        ("qmull:order=joint", "did you mean 'qmul'"),
        ("ft_no_sl", "ft has no ablation"),
        ("qmul:label_rul=released", "did you mean 'label_rule'"),
        ("iu:lr=0.1", "unknown option of iu 'lr'"),
        ("qmul:protocoll=released", "did you mean 'protocol'"),
        ("qmul:order=serial", "order: input should be 'joint' or 'sequential' (got 'serial')"),
        ("qmul:protocol=release", "did you mean 'released'"),
        ("qmul:protocol=1", "unknown protocol '1'"),
        ("ft:lr=-1", "lr: input should be greater than 0"),
        ("ft:lr=nan", "lr: input should be a finite number"),
        ("qmul:", "write method:option=value"),
        ("qmul:order", "write method:option=value"),
        ("qmul:order=", "write method:option=value"),
        ("qmul:order=joint:order=sequential", "sets order twice"),
        ("qmul:normaliser=weights:order=sequential", "normaliser=weights contradicts order=sequential"),
        ("retrain:lr=0.2", "set retrain.lr=0.2"),
    ],
)
def test_a_bad_label_is_one_line(label, expected):
    with pytest.raises(BadInput) as caught:
        parse_method(label)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "svhn", "tiny_imagenet", "digits"])
def test_the_published_set_fits_its_method_and_has_the_data_sets_order(name, dataset):
    options = released_options(METHODS[name], dataset)
    assert METHODS[name].params(**options)
    expected = "sequential" if dataset in ("cifar10", "svhn") else "joint"
    assert options.get("order", expected) == expected
    assert ("order" in options) == (name in ("rl", "salun", "qmul", "qmul_no_sl", "qmul_no_agr"))


def test_an_ablation_that_ablates_nothing_is_found():
    assert undone_ablation("qmul_no_agr", {"lr": 0.1, "weights": "adaptive"}) == "weights=adaptive"
    assert undone_ablation("qmul_no_agr", {"weights": "half", "order": "joint"}) is None
    assert undone_ablation("qmul_no_sl", {"labels": "similar"}) == "labels=similar"
    assert undone_ablation("qmul", {"weights": "adaptive"}) is None


def test_a_word_that_json_takes_for_a_truth_value_stays_a_word():
    assert worded(METHODS["qmul"], {"norm_labels": True, "decay_quantizers": True}) == {
        "norm_labels": "true",
        "decay_quantizers": True,
    }
    assert worded(METHODS["qmul"], {"no_such_option": True}) == {"no_such_option": True}


def test_a_variant_has_a_title():
    assert titles.title("qmul") == "Q-MUL"
    label = parse_method("qmul:order=sequential:label_rule=released").label
    assert titles.title(label) == "Q-MUL (label_rule released, order sequential)"
    assert titles.title("ft:protocol=released") == "FT (protocol released)"
    assert titles.title("cifar10") == "CIFAR-10"
    assert titles.title("mine") == "mine"
