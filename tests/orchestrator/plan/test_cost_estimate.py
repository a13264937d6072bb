"""Expected seconds: what paces.json holds, what is made of it, and how a store's own timings correct it."""

import pytest

from core.errors import BadInput
from core.models import MODELS
from core.network_costs import megamacs
from core.train import Params
from core.unlearn import METHODS, Method
from orchestrator.plan.costs.estimate import CostModel, passes
from orchestrator.plan.costs.paces import as_in_the_paper, image_work, pace_of, read_paces, write_pace
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.fields import LimitSpec
from orchestrator.spec.recipes import RECIPES, digits
from orchestrator.spec.specification import GridSpec
from tests.orchestrator.made_pace import made_pace

GIGAMACS = megamacs("resnet18", 0.125, 16, 10) / 1000  # of an image of digits


def node_of(kind, method, spec=None):
    nodes = make_plan(spec or digits()).nodes.values()
    return next(n for n in nodes if n.kind == kind and n.inputs.get("method") == method)


def test_the_work_of_an_image_grows_with_width_and_pixels():
    one, other = image_work("resnet18", 1.0, 32, 256), image_work("resnet18", 0.5, 64, 128)
    assert one == (megamacs("resnet18", 1.0, 32, 10) / 1000, 1.0, 1 / 256)
    assert other == (megamacs("resnet18", 0.5, 64, 10) / 1000, 2.0, 1 / 128)  # a half times two squared


def test_a_trial_is_its_passes_and_what_comes_beside():
    """FT on digits: 10 epochs over 90 % of 90 % of 1,437 images of 16 px in batches of 64, at width 1/8."""
    image = GIGAMACS + 0.5 / 8 / 4 + 2.0 / 64
    predicted = GIGAMACS + 0.5 / 8 / 4 + 2.0 / 1000
    expected = 10 * 0.81 * 1437 * 1.5 * image + (1437 + 360) * 0.25 * predicted + 8.0 / 64
    assert CostModel(made_pace()).work(node_of("trial", "ft")) == pytest.approx(expected)


def test_an_evaluation_is_two_attacks():
    """Against 360 test images and 144 validation images, of which more are retained."""
    model = CostModel(made_pace())
    expected = 4.0 * (0.036**2 + 0.01437**2)
    assert model.work(node_of("evaluate", "ft")) == pytest.approx(expected)
    limited = CostModel(made_pace(), LimitSpec(train=1000, test=100))
    assert limited.work(node_of("evaluate", "ft")) == pytest.approx(4.0 * (0.01**2 + 0.01**2))


def test_the_parts_of_a_trial_train_as_long_as_the_whole():
    node = node_of("trial", "ft")
    part = type(node)(node.kind, "part", node.parents, node.inputs | {"until": 4})
    rest = type(node)(node.kind, "rest", node.parents, node.inputs, head_start=4)
    model = CostModel(made_pace())
    beside = model.work(part) + model.work(rest) - model.work(node)
    assert beside == pytest.approx((1437 + 360) * 0.25 * (GIGAMACS + 1 / 64 + 0.002) + 8 / 64)


def test_own_timings_correct_what_is_expected_of_a_method_and_then_of_all():
    model, ft, ga = CostModel(made_pace()), node_of("trial", "ft"), node_of("trial", "ga")
    assert model.seconds(ft) == model.work(ft)
    for factor in (3.0, 2.0, 4.0):
        model.observe(ft, factor * model.work(ft))
    assert model.factor == pytest.approx(3.0)
    assert model.seconds(ga) == pytest.approx(3 * model.work(ga))
    model.observe(ga, 10 * model.work(ga))
    assert model.seconds(ga) == pytest.approx(10 * model.work(ga))
    assert model.seconds(ft) == pytest.approx(3 * model.work(ft))
    assert model.total([ft, ga]) == pytest.approx(model.seconds(ft) + model.seconds(ga))
    evaluation = node_of("evaluate", "ft")
    assert model.seconds(evaluation) == model.work(evaluation)


def test_a_method_that_does_not_say_what_it_costs_goes_over_both_sets(monkeypatch):
    monkeypatch.setitem(METHODS, "new", Method("new", "New", Params, lambda _arch: {}, METHODS["rl"].run))
    assert passes("new", {"epochs": 3}, 10, 90) == 300
    assert passes("new", {}, 10, 90) == 100
    assert passes("rl", {"epochs": 1}, 10, 90) == 100


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_planned_with_its_defaults_though_nobody_measured_its_pace(name):
    """`passes` of its METHOD reads hyper-parameters that it has, and a pace without it counts plain passes."""
    spec = digits().model_copy(update={"methods": (name,), "ratios": (), "classes": (0,)})
    model = CostModel(made_pace())
    counted = [node for node in make_plan(spec).nodes.values() if node.inputs.get("method") == name]
    assert all(0 < model.work(node) < float("inf") for node in counted)
    assert passes(name, METHODS[name].params().model_dump(), 10, 90) > 0


def test_norms_of_fewer_images_are_fewer_passes():
    whole, fewer = {"epochs": 2}, {"epochs": 2, "norm_images": 20}
    assert passes("qmul", whole, 30, 90) == 10 + 2 * 240
    assert passes("qmul", fewer, 30, 90) == 10 + 2 * (120 + 40)
    assert passes("qmul_no_agr", whole, 30, 90) == 10 + 2 * 120


@pytest.mark.parametrize("recipe", ["full", "fidelity", "digits", "table5", "figure1"])
def test_every_node_of_a_recipe_takes_time(recipe):
    model = CostModel(pace_of("cpu"))
    assert all(model.work(node) > 0 for node in make_plan(RECIPES[recipe]()).nodes.values())


@pytest.mark.parametrize("arch", [name for name in MODELS if name not in made_pace().networks])
def test_a_network_that_nobody_measured_is_taken_for_the_first_by_its_size(arch):
    pace, share = made_pace(), megamacs(arch, MODELS[arch].width, 32, 10) / megamacs("resnet18", 1.0, 32, 10)
    found, first = pace.network(arch), pace.network("resnet18")
    one = image_work("resnet18", 1.0, 32, 64)
    other = one._replace(gigamacs=one.gigamacs * share)
    without_steps = first.seconds_per_image(one) - first.step * one.step
    assert found.seconds_per_image(other) == pytest.approx(share * without_steps + first.step * one.step)
    assert (found.node, found.compiling) == (pytest.approx(share * first.node), None)
    spec = RECIPES["digits"]().model_copy(update={"archs": (arch,)})
    assert all(CostModel(pace).work(node) > 0 for node in make_plan(spec).nodes.values())


@pytest.mark.parametrize("dataset", ["mnist", "organamnist", "folder:flowers", "folder:flowers:128"])
@pytest.mark.parametrize("scenario", [{"ratios": (0.1,)}, {"ratios": (), "classes": (1,)}])
def test_any_data_set_can_be_planned_before_it_is_read(dataset, scenario):
    spec = GridSpec.model_validate(RECIPES["digits"]().model_dump() | {"datasets": (dataset,)} | scenario)
    assert all(CostModel(made_pace()).work(node) > 0 for node in make_plan(spec).nodes.values())


def test_the_committed_file_has_the_papers_networks():
    """A network that came later is taken for the first, a method for plain training, until somebody measures."""
    cpu = next(pace for pace in read_paces() if pace.device == "cpu")
    assert {"resnet18", "mobilenetv2"} <= cpu.networks.keys() <= MODELS.keys()
    assert all(
        network.methods and network.methods.keys() <= METHODS.keys() for network in cpu.networks.values()
    )


def test_the_papers_gpu_takes_its_22_minutes_and_a_cpus_proportions():
    """What a single epoch of Retrain costs beside a plain one says nothing about 160."""
    cpu = made_pace()
    gpu = as_in_the_paper(cpu)
    node = make_plan(RECIPES["figure4"]()).nodes.values()
    retrain = next(n for n in node if n.kind == "retrain")
    beside = CostModel(gpu)._beside(retrain)
    assert (CostModel(gpu).work(retrain) - beside) / 60 == pytest.approx(22.05)
    assert gpu.network("resnet18").methods == cpu.network("resnet18").methods
    assert "RTX 4090" in gpu.words
    assert "a core" in gpu.words


def test_a_measured_gpu_takes_the_papers_place(tmp_path, monkeypatch):
    monkeypatch.setattr("orchestrator.plan.costs.paces.gpu_name", lambda: None)
    file = tmp_path / "paces.json"
    write_pace(made_pace(), file)
    found = lambda device: pace_of.__wrapped__(device, file)  # noqa: E731
    assert found("cuda").hardware == "RTX 4090"
    assert "one core of a core, measured on 2026-01-02" in found("cpu").words
    write_pace(made_pace(hardware="H200", device="cuda", measured="2026-03-01"), file)
    write_pace(made_pace(hardware="A100", device="cuda", measured="2026-02-01"), file)
    assert found("cuda").hardware == "H200"
    monkeypatch.setattr("orchestrator.plan.costs.paces.gpu_name", lambda: "A100")
    assert found("cuda").hardware == "A100"
    write_pace(made_pace(measured="2026-04-01"), file)
    assert [(p.hardware, p.measured) for p in read_paces(file)] == [
        ("A100", "2026-02-01"),
        ("H200", "2026-03-01"),
        ("a core", "2026-04-01"),
    ]


@pytest.mark.parametrize("text", ["", "{}", '{"paces": []}', '{"paces": [{"hardware": "x"}]}'])
def test_a_broken_file_is_one_line(text, tmp_path):
    file = tmp_path / "paces.json"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"paces\.json: .*python -m tests\.bench writes it"):
        read_paces(file)
