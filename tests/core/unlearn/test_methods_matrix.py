"""What holds for every method under every protocol: purity, determinism, finite and valid results."""

import copy
import inspect
import itertools
import math
from dataclasses import replace
from functools import cache
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from core.data import DATASETS
from core.data.loader import Images
from core.data.splits import Scenario
from core.errors import BadInput
from core.models import MODELS
from core.quant import QuantSpec, quantizer_faults
from core.train.loop import TrainParams
from core.unlearn import METHODS, unknown_method
from core.unlearn.retrain import RetrainParams
from tests.core.toy_problem import (
    CLASSES,
    SHORT,
    class_problem,
    differing,
    fresh_problem,
    loss_on,
    memorised_problem,
    parameters_of,
    seeded,
    state_of,
    suited,
    two_class_problem,
    untrained_problem,
)

PROTOCOLS = ("paper", "released")
CASES = [
    ("resnet18", name, protocol)
    for name, method in METHODS.items()
    for protocol in PROTOCOLS
    if protocol == "paper" or method.released
]
ON_MOBILE = ("qmul", "iu", "salun", "ft", "ssd", "sfdn", "label_flip", "unsir", "rfa_lora")
MOBILE_CASES = [
    pytest.param("mobilenetv2", name, "paper", marks=[pytest.mark.slow] if number > 1 else [])
    for number, name in enumerate(ON_MOBILE)
    if name in METHODS
]
ITERATIVE = [name for name, m in METHODS.items() if issubclass(m.params, TrainParams) and name != "retrain"]
WITHOUT_FORGET_DATA = [
    name
    for name in ("retrain", "ft", "l1_sparse", "sfdn", "amnesiac", "ct", "sisa", "arcane", "certified")
    if name in METHODS
]
# one edit, measured on plain images or recorded before
NO_RANDOMNESS = {
    (n, p)
    for n in ("iu", "ssd", "mnemonic", "amnesiac", "sisa", "certified", "ntk", "lwsf", "arcane")
    for p in PROTOCOLS
} - {("iu", "released")}
CAME_LAST = list(METHODS)[list(METHODS).index("amnesiac") + 1 :]
CLASS_WISE = [name for name, m in METHODS.items() if "random" not in m.scenarios]

every_case = pytest.mark.parametrize(("arch", "name", "protocol"), CASES + MOBILE_CASES)
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)


def short_params(name, protocol="paper"):
    method = METHODS[name]
    shortened = {key: value for key, value in SHORT.items() if key in method.params.model_fields}
    return method.params(**shortened | (method.released if protocol == "released" else {}))


def run(problem, name, protocol="paper", seed=0, on_epoch=None):
    method = METHODS[name]
    return method.run(suited(problem, method), short_params(name, protocol), seeded(seed), on_epoch)


@cache
def given(arch, name):
    """The problem as a method needs it, with the original that its hook took part in; not to be edited."""
    return suited(memorised_problem(arch), METHODS[name])


def fresh(name, arch="resnet18"):
    """The same with a model of its own."""
    problem = given(arch, name)
    return replace(problem, model=copy.deepcopy(problem.model))


@cache
def result(arch, name, protocol, seed=0):
    """(problem, unlearned model) of one run, shared by the tests that only look."""
    problem = fresh(name, arch)
    return problem, run(problem, name, protocol, seed)


@every_case
def test_the_original_is_left_bit_identical_and_in_its_mode(arch, name, protocol):
    problem, unlearned = result(arch, name, protocol)
    assert differing(problem.model, given(arch, name).model) == []
    assert not any(m.training for m in problem.model.modules())
    assert all(p.grad is None and p.requires_grad for p in problem.model.parameters())
    shared = {p.data_ptr() for p in problem.model.parameters()}
    assert not any(p.data_ptr() in shared for p in unlearned.parameters())


@every_case
def test_the_data_are_left_alone(arch, name, protocol):
    problem, _ = result(arch, name, protocol)
    again = suited(memorised_problem(arch), replace(METHODS[name], hook=None))
    for used, found in ((problem.forget, again.forget), (problem.retain, again.retain)):
        assert torch.equal(used.pixels, found.pixels)
        assert torch.equal(used.labels, found.labels)


@every_case
def test_the_result_is_a_healthy_network_of_the_same_architecture_in_eval_mode(arch, name, protocol):
    problem, unlearned = result(arch, name, protocol)
    assert type(unlearned) is type(problem.model)
    shapes = [{n: (t.shape, t.dtype) for n, t in m.state_dict().items()} for m in (unlearned, problem.model)]
    assert shapes[0] == shapes[1]
    assert not any(m.training for m in unlearned.modules())
    assert all(t.isfinite().all() for t in unlearned.state_dict().values())
    assert quantizer_faults(unlearned) == {}
    assert differing(parameters_of(unlearned), parameters_of(problem.model))


@every_case
def test_two_runs_are_bit_identical_and_leave_the_global_generator_alone(arch, name, protocol):
    torch.manual_seed(17)
    state = torch.get_rng_state()
    again = run(fresh(name, arch), name, protocol)
    assert torch.equal(torch.get_rng_state(), state)
    assert differing(again, result(arch, name, protocol)[1]) == []


@every_case
def test_another_generator_seed_gives_another_result(arch, name, protocol):
    other = run(fresh(name, arch), name, protocol, seed=1)
    same = differing(other, result(arch, name, protocol)[1]) == []
    assert same is ((name, protocol) in NO_RANDOMNESS), (
        f"{name} ({protocol}) draws {'nothing: put it into' if same else 'numbers: take it out of'} NO_RANDOMNESS"
    )


def poisoned(images):
    """Any loss on these labels is an error, and the pixels are another set's."""
    noise = torch.randint(0, 256, images.pixels.shape, generator=seeded(66)).to(torch.uint8)
    return Images(noise, torch.full_like(images.labels, 10**6))


@pytest.mark.parametrize("name", WITHOUT_FORGET_DATA)
def test_methods_on_retained_data_never_read_the_forget_set(name):
    problem = fresh(name)
    blind = run(replace(problem, forget=poisoned(problem.forget)), name)
    assert differing(blind, result("resnet18", name, "paper")[1]) == []


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(WITHOUT_FORGET_DATA)))
def test_the_poison_would_be_noticed(name):
    problem = fresh(name)
    poison = replace(problem, forget=poisoned(problem.forget))
    try:
        found = run(poison, name)
    except (IndexError, RuntimeError, BadInput):
        return
    noticed = differing(found, result("resnet18", name, "paper")[1])  # RL replaces the labels, not the pixels
    assert noticed, f"{name} never reads the forget set: if it is meant to, put it into WITHOUT_FORGET_DATA"


def test_gradient_ascent_never_reads_the_retain_set():
    problem = fresh_problem()
    blind = run(replace(problem, retain=poisoned(problem.retain)), "ga")
    assert differing(blind, result("resnet18", "ga", "paper")[1]) == []


def test_retrain_does_not_depend_on_what_the_original_knew():
    problem = fresh_problem()
    with torch.no_grad():
        for tensor in problem.model.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.7).add_(0.01)
    assert differing(run(problem, "retrain"), result("resnet18", "retrain", "paper")[1]) == []


@every_method
def test_progress_is_told_once_per_epoch_with_finite_facts_and_changes_nothing(method):
    told = []
    found = run(fresh(method.name), method.name, on_epoch=lambda epoch, facts: told.append((epoch, facts)))
    assert differing(found, result("resnet18", method.name, "paper")[1]) == []
    epochs = getattr(short_params(method.name), "epochs", 1)
    assert [epoch for epoch, _ in told] == list(range(epochs))
    values = [v for _, facts in told for v in facts.values()]
    assert values
    assert all(torch.isfinite(torch.tensor(v)) for v in values)


# --- forgetting a whole class


def class_cases():
    """Both problems for every method; with two classes the methods that came last are among the slow tests."""
    for (_, name, protocol), make in itertools.product(CASES, (class_problem, two_class_problem)):
        slow = name in CAME_LAST and make is two_class_problem
        count = "two" if make is two_class_problem else "four"
        marks = [pytest.mark.slow] if slow else []
        yield pytest.param(make, name, protocol, marks=marks, id=f"{count}-{name}-{protocol}")


@pytest.mark.parametrize(("make", "name", "protocol"), list(class_cases()))
def test_a_whole_class_is_a_problem_like_any_other(make, name, protocol):
    """The label to forget is in no retained image, and with two classes there is one wrong label."""
    problem = suited(make(), METHODS[name])
    before = state_of(problem.model)
    unlearned = run(problem, name, protocol)
    assert differing(before, problem.model) == []
    assert all(t.isfinite().all() for t in unlearned.state_dict().values())
    assert quantizer_faults(unlearned) == {}
    assert differing(parameters_of(unlearned), parameters_of(problem.model))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ["retrain", "rl", "salun", "qmul", "qmul_no_sl", "qmul_no_agr"])
def test_relabelling_a_whole_class_forgets_it_and_retraining_never_learns_it(name, protocol):
    problem = class_problem(3)
    longer = {"epochs": 4, "lr": 0.05, "batch_size": 24}
    method = METHODS[name]
    params = method.params(**(method.released if protocol == "released" else {}) | longer)
    unlearned = method.run(problem, params, seeded(), None)
    assert loss_on(problem.model, problem.forget) < 0.2
    assert loss_on(unlearned, problem.forget) > math.log(CLASSES)  # less likely than by chance


@pytest.mark.parametrize("name", CLASS_WISE)
def test_a_method_for_whole_classes_refuses_any_other_problem_in_one_line(name):
    with pytest.raises(BadInput) as caught:
        METHODS[name].run(fresh_problem(), short_params(name), seeded(), None)
    assert METHODS[name].title in str(caught.value)
    assert "24 of 24 images to forget are of classes that are retained" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_method_can_forget_is_declared():
    assert all(m.scenarios for m in METHODS.values())
    assert all(m.scenarios <= set(get_args(Scenario)) for m in METHODS.values())
    assert {"unsir", "mnemonic", "mnemonic_ft"} <= set(CLASS_WISE)


@pytest.mark.parametrize("forgotten", [0, 2])
def test_lost_classes_are_those_of_which_no_image_is_retained(forgotten):
    problem = class_problem(forgotten)
    assert problem.lost_classes() == problem.whole_classes("a method") == [forgotten]
    assert fresh_problem().lost_classes() == []
    never_seen = replace(problem, classes=CLASSES + 1)
    assert never_seen.lost_classes() == [forgotten, CLASSES]
    assert never_seen.whole_classes("a method") == [forgotten]


# --- every way to quantize

QUANTIZATIONS = ("fp", "2w", "4w4a-lsq", "4w4a-pact", "4w4a-dsq", "4w4a-perchannel", "4w8a-released")


def quantized_cases():
    """Every pair; of the methods that came last most are among the slow tests."""
    for method, label in itertools.product(METHODS.values(), QUANTIZATIONS):
        slow = method.name in CAME_LAST and label not in ("fp", "4w4a-dsq")
        yield pytest.param(
            label, method, marks=[pytest.mark.slow] if slow else [], id=f"{label}-{method.name}"
        )


@pytest.mark.parametrize(("label", "method"), list(quantized_cases()))
def test_every_method_works_on_every_quantization(label, method):
    problem = suited(untrained_problem(QuantSpec.parse(label)), method)
    before = state_of(problem.model)
    shortened = {key: value for key, value in SHORT.items() if key in method.params.model_fields}
    params = method.params(**shortened | ({"epochs": 1} if "epochs" in shortened else {}))
    unlearned = method.run(problem, params, seeded(), None)
    assert differing(before, problem.model) == []
    assert all(t.isfinite().all() for t in unlearned.state_dict().values())
    assert quantizer_faults(unlearned) == {}
    assert differing(parameters_of(unlearned), parameters_of(problem.model))


# --- the registry


def test_names_are_the_keys_and_titles_are_unique():
    assert list(METHODS) == [m.name for m in METHODS.values()]
    assert len({m.title for m in METHODS.values()}) == len(METHODS)
    assert {"retrain", "ft", "ga", "iu", "rl", "l1_sparse", "salun", "qmul"} <= set(METHODS)
    assert (METHODS["qmul_no_sl"].title, METHODS["qmul_no_agr"].title) == ("Q-MUL w/o SL", "Q-MUL w/o AGR")


@pytest.mark.parametrize("name", ["ft_no_sl", "l1_sparse_no_agr", "retrain_no_"])
def test_an_ablation_of_a_method_without_any_names_those_there_are(name):
    error = unknown_method(name)
    whole = name.partition("_no_")[0]
    assert isinstance(error, BadInput)
    assert str(error) == f"method '{name}': {whole} has no ablation; qmul has qmul_no_sl and qmul_no_agr"


@pytest.mark.parametrize(
    ("name", "nearest"), [("qmul_no_slr", "qmul_no_sl"), ("salum", "salun"), ("salum_no_sl", "qmul_no_sl")]
)
def test_any_other_unknown_name_gets_the_nearest_one(name, nearest):
    assert f"unknown method '{name}': did you mean '{nearest}'?" in str(unknown_method(name))


def test_the_published_code_reads_the_sets_in_order_on_cifar10_and_svhn_alone():
    """S8."""
    sequential = {name for name, info in DATASETS.items() if info.published_order == "sequential"}
    assert sequential == {"cifar10", "svhn"}


@pytest.mark.parametrize("name", [name for name, m in METHODS.items() if "order" in m.params.model_fields])
def test_published_orders_are_orders_of_the_methods_that_have_one(name):
    method = METHODS[name]
    for info in DATASETS.values():
        options = {**method.released, "order": info.published_order}
        assert method.params(**options).order == info.published_order


def test_retrain_has_no_probe():
    with pytest.raises(ValidationError, match="probe"):
        RetrainParams(probe=8)


@every_method
def test_unknown_hyper_parameters_are_refused(method):
    with pytest.raises(ValidationError, match="no_such_name"):
        method.params(no_such_name=1)


@every_method
@pytest.mark.parametrize(
    "bad", [{"batch_size": 0}, {"epochs": 0}, {"lr": -0.1}, {"lr": float("nan")}], ids=str
)
def test_impossible_hyper_parameters_are_refused(method, bad):
    with pytest.raises(ValidationError):  # a method without that name refuses it as unknown
        method.params(**bad)


@every_method
def test_hyper_parameters_are_frozen(method):
    with pytest.raises(ValidationError):
        method.params().batch_size = 3


@every_method
def test_released_options_are_valid_and_differ_from_the_defaults(method):
    released, default = method.params(**method.released), method.params()
    for option, value in method.released.items():
        assert getattr(released, option) == value
        assert getattr(default, option) != value


FROM_QMUL = ["retrain", "ft", "ga", "rl", "l1_sparse", "salun", "qmul", "qmul_no_sl", "qmul_no_agr"]


@pytest.mark.parametrize("name", FROM_QMUL)
def test_released_methods_decay_quantizers_because_the_code_has_a_single_group(name):
    """Section 2: all iterative unlearners build ONE SGD over all parameters."""
    assert METHODS[name].released["decay_quantizers"] is True


@every_method
@pytest.mark.parametrize("arch", MODELS)
def test_search_ranges_name_parameters_and_hold_valid_values(method, arch):
    for name, found in method.space(arch).items():
        assert name in method.params.model_fields
        assert 0 < found.low < found.high
        assert found.at(0) == pytest.approx(found.low)
        assert found.at(1) == pytest.approx(found.high)
        assert found.low < found.at(0.5) < found.high
        for share in (0, 0.5, 1):
            method.params(**{name: found.at(share)})


PUBLISHED = {
    "ft": {"lr": (1e-3, 1e-1)},
    "rl": {"lr": (1e-3, 1e-1)},
    "ga": {"lr": (1e-5, 1e-3)},
    "iu": {"alpha": (1, 20)},
    "l1_sparse": {"lr": (1e-3, 1e-1), "alpha": (1e-6, 1e-4)},
    "salun": {"lr": (5e-4, 5e-2), "fraction": (0.1, 0.9)},
    "qmul": {"lr": (1e-3, 1e-1)},
    "qmul_no_sl": {"lr": (1e-3, 1e-1)},
    "qmul_no_agr": {"lr": (1e-3, 1e-1)},
    "retrain": {},
}
CHOSEN = {
    "ssd": {"alpha": (1, 100)},
    "sfdn": {"alpha": (1e-7, 1e-5)},
    "scrub": {"lr": (1e-4, 1e-2)},
    "bad_teacher": {"lr": (1e-3, 1e-1)},
    "unsir": {"lr": (1e-3, 1e-1)},
    "label_flip": {"lr": (1e-3, 1e-1), "fraction": (0.01, 1)},
    "partial_ascent": {"lr": (1e-5, 1e-3), "fraction": (0.01, 1)},
    "rfa_lora": {"lr": (1e-3, 1e-1)},
    "mnemonic": {"lambda1": (1e-5, 1e-3), "lambda2": (1, 1e4)},
    "mnemonic_ft": {"lambda1": (1e-5, 1e-3), "lambda2": (1, 1e4)},
    "amnesiac": {},
    "neggrad": {"lr": (1e-3, 1e-1), "alpha": (0.9, 0.999)},
    "msg": {"lr": (1e-4, 1e-1), "share": (0.1, 0.9)},
    "ct": {"lr": (1e-4, 1e-1)},
    "sfron": {"lr": (1e-3, 1e-1), "ascent": (3, 300)},
    "delete": {"lr": (1e-5, 1e-2)},
    "sisa": {},
    "certified": {},
    "ntk": {"scale": (0.25, 4)},
    "zero_shot": {"lr": (1e-4, 1e-2)},
    "lwsf": {"lr": (1e-3, 1e-1)},
    "erm_ktp": {"lr": (1e-2, 1)},
    "arcane": {},
}


@pytest.mark.parametrize("name", PUBLISHED | CHOSEN)
def test_search_ranges_are_the_published_ones_or_our_own(name):
    """Section 10; a method from elsewhere, whose source has no range, has one chosen around its settings.

    A method that comes later is held to its range once it stands in a table above.
    """
    space = METHODS[name].space("resnet18")
    assert {key: (found.low, found.high) for key, found in space.items()} == (PUBLISHED | CHOSEN)[name]


@pytest.mark.parametrize("name", ["qmul", "qmul_no_sl", "qmul_no_agr"])
def test_qmul_searches_a_decade_higher_on_mobilenetv2(name):
    found = METHODS[name].space("mobilenetv2")["lr"]
    assert (found.low, found.high) == (1e-2, 1e-1)


def test_published_epochs_and_rates_are_the_defaults():
    tabled = [name for name in ITERATIVE if name in PUBLISHED | CHOSEN]
    epochs = {name: METHODS[name].params().epochs for name in ("retrain", *tabled)}
    others = {
        "retrain": 160,
        "ga": 5,
        "partial_ascent": 5,
        "label_flip": 3,
        "scrub": 3,
        "unsir": 2,
        "bad_teacher": 1,
        "rfa_lora": 5,
        "msg": 5,
        "ct": 3,
        "delete": 20,
        "erm_ktp": 200,
    }
    assert epochs == {name: others.get(name, 10) for name in epochs}
    rates = {"retrain": 0.1, "ga": 1e-4, "partial_ascent": 1e-4, "scrub": 5e-4, "unsir": 0.02}
    assert {name: METHODS[name].params().lr for name in rates} == rates


@every_method
def test_the_signature_is_the_contract(method):
    assert list(inspect.signature(method.run).parameters) == ["problem", "params", "generator", "on_epoch"]
    assert method.revision >= 1


@every_method
def test_an_original_left_in_train_mode_stays_so(method):
    """Problem: the model is never modified, and a mode is part of it."""
    problem = fresh(method.name)
    problem.model.train()
    before = state_of(problem.model)
    run(problem, method.name)
    assert problem.model.training
    assert differing(before, problem.model) == []
