"""Bad input is one line that names what was wrong, where, and the nearest valid value."""

import pytest

from core.errors import BadInput
from orchestrator.overrides import grid_spec, with_overrides
from orchestrator.recipes import RECIPES, digits

BASE = {"datasets": "cifar10", "archs": "resnet18", "ratios": 0.1}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("datasets=cifar11", "did you mean 'cifar10'"),
        ("archs=resnet81", "did you mean 'resnet18'"),
        ("methods=ft,qmull", "did you mean 'qmul'"),
        ("rations=0.1", "did you mean 'ratios'"),
        ("data.rot=x", "did you mean 'data.root'"),
        ("data.limit.trian=5", "did you mean 'data.limit.train'"),
        ("ratios=1.5", "ratios.0: input should be less than 1"),
        ("ratios=0", "ratios.0: input should be greater than 0"),
        ("classes=12", "cifar10 has no class 12 (valid: 0-9; nearest: 9)"),
        ("quantizers=9w4a", "asks for 9 bits; valid are 2-8 (nearest: 8)"),
        ("quantizers=1w", "nearest: 2"),
        ("quantizers=4x", "write 4w4a"),
        ("quantizers=4w4a-lsqplus", "did you mean 'lsq_plus'"),
        ("params.qmul.epoch=3", "params.qmul: unknown key 'epoch': did you mean 'epochs'"),
        ("params.qmull.epochs=3", "did you mean 'qmul'"),
        ("original.lr=-1", "original: lr"),
        ("search.trials=0", "search.trials"),
        ("protocol=release", "'paper' or 'released'"),
        ("validation=0", "contradicts select_on=validation"),
        ("resources.gpus_per_slot=0", "resources.gpus_per_slot"),
        ("seeds=", "seeds"),
        ("nonsense", "write key=value"),
    ],
)
def test_bad_overrides_are_one_line_with_the_nearest_valid_value(override, expected):
    with pytest.raises(BadInput) as caught:
        with_overrides(BASE, [override])
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message


def test_nothing_to_forget_is_an_error():
    with pytest.raises(BadInput, match="nothing to forget"):
        with_overrides({"datasets": "cifar10", "archs": "resnet18"}, [])


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'digits'"):
        grid_spec("digit", None, [])


def test_recipe_and_file_together_are_refused(tmp_path):
    with pytest.raises(BadInput, match="contradicts"):
        grid_spec("digits", tmp_path / "x.yaml", [])


@pytest.mark.parametrize("text", ["[1, 2]", "datasets: [a", "datasets: cifar10\nratio: 0.1"])
def test_a_bad_file_is_one_line(tmp_path, text):
    file = tmp_path / "grid.yaml"
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        grid_spec(None, file, [])
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        grid_spec(None, tmp_path / "none.yaml", [])


def test_values_are_json_and_bare_words_are_text():
    spec = with_overrides(BASE, ["methods=ft,ga", "seeds=[1,2]", "data.limit=500", "search.trials=3"])
    assert spec.methods == ("ft", "ga")
    assert spec.seeds == (1, 2)
    assert spec.data.limit is not None
    assert spec.data.limit.train == spec.data.limit.test == 500
    assert spec.search.trials == 3


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_yaml(name, tmp_path):
    import yaml

    file = tmp_path / f"{name}.yaml"
    file.write_text(yaml.safe_dump(RECIPES[name]().model_dump(mode="json")))
    assert grid_spec(None, file, []) == RECIPES[name]()


def test_paper_quantization_depends_on_the_network():
    spec = with_overrides(BASE, ["archs=resnet18,mobilenetv2"])
    assert [q.label for q in spec.quant_specs("resnet18")] == ["4w4a"]
    assert [q.label for q in spec.quant_specs("mobilenetv2")] == ["2w"]


def test_the_released_protocol_turns_the_published_options_on():
    released = digits().model_copy(update={"protocol": "released"})
    assert released.method_params("qmul", {})["label_rule"] == "released"
    assert digits().method_params("qmul", {})["label_rule"] == "equation"


def test_the_spec_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        digits().recipe = "other"
