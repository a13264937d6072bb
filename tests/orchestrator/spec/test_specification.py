"""Bad input is one line that names what was wrong, where, and the nearest valid value."""

import pytest

from core.data import DATASETS
from core.errors import BadInput
from orchestrator.spec.class_names import CLASS_NAMES
from orchestrator.spec.overrides import grid_spec, with_overrides
from orchestrator.spec.recipes import RECIPES
from orchestrator.spec.specification import PAPER_METHODS, GridSpec, parse_spec
from tests.one_problem import digits

BASE = {"datasets": "cifar10", "archs": "resnet18", "ratios": 0.1}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("datasets=cifar11", "did you mean 'cifar10'"),
        ("datasets=fodler:pets", "did you mean 'folder:NAME'"),
        ("datasets=folder:a/b", "write folder:NAME, such as folder:flowers"),
        ("archs=resnet81", "did you mean 'resnet18'"),
        ("widths.lennet=0.5", "did you mean 'lenet'"),
        ("archs=tv:swin_tt", "did you mean 'tv:swin_t'"),
        ("widths.tv:swin_t=0.5", "widths.tv:swin_t=0.5: it comes in one width; leave it out"),
        ("methods=ft,qmull", "did you mean 'qmul'"),
        ("rations=0.1", "did you mean 'ratios'"),
        ("data.rot=x", "did you mean 'data.root'"),
        ("data.limit.trian=5", "did you mean 'data.limit.train'"),
        ("ratios=1.5", "ratios.0: input should be less than 1"),
        ("ratios=0", "ratios.0: input should be greater than 0"),
        ("classes=0", "ratios=0.1 contradicts classes=0: a class is forgotten whole; set one of them to []"),
        ("quantizers=9w4a", "asks for 9 weight bits; lsq_plus takes 2-8 (nearest: 8)"),
        ("quantizers=1w", "nearest: 2"),
        ("quantizers=4x", "write 4w4a"),
        ("quantizers=4w4a-lsqplus", "did you mean 'lsq_plus'"),
        ("params.qmul.epoch=3", "params.qmul: unknown key 'epoch': did you mean 'epochs'"),
        ("params.qmull.epochs=3", "did you mean 'qmul'"),
        ("original.lr=-1", "original: lr"),
        ("search.trials=0", "search.trials"),
        ("protocol=release", "'paper' or 'released'"),
        ("validation=0", "contradicts select_on=validation"),
        ("split=mismatched", "split=mismatched contradicts select_on=validation"),
        ("split=two", "'one' or 'mismatched'"),
        ("probe=-1", "probe: input should be greater than or equal to 0"),
        ("methods=ft_no_sl", "ft has no ablation"),
        ("methods=qmul:label_rul=released", "did you mean 'label_rule'"),
        ("methods=qmul_no_sl:labels=similar", "labels=similar contradicts qmul_no_sl"),
        ("params.qmul_no_agr.weights=adaptive", "weights=adaptive contradicts qmul_no_agr"),
        ("params.retrain.epochs=3", "params.retrain contradicts retrain"),
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


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["ratios=[]", "classes=12"], "cifar10 has no class 12 (valid: 0-9; nearest: 9)"),
        (
            ["protocol=released", "select_on=validation"],
            "(protocol=released) contradicts select_on=validation",
        ),
        (["protocol=released", "validation=0"], "(protocol=released) contradicts validation=0"),
        (["split=mismatched", "select_on=test", "validation=0"], "split=mismatched contradicts validation=0"),
        # on CIFAR-10 the published code takes one set after the other
        (
            ["datasets=cifar100,cifar10", "protocol=released", "methods=qmul:normaliser=weights"],
            "normaliser=weights contradicts order=sequential",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_both_named(overrides, expected):
    with pytest.raises(BadInput) as caught:
        with_overrides(BASE, overrides)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


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


def test_the_released_protocol_is_the_published_quantization_split_and_selection():
    paper, released = with_overrides(BASE, []), with_overrides(BASE, ["protocol=released"])
    assert (paper.selects_on, paper.splits) == ("validation", "one")
    assert (released.selects_on, released.splits) == ("test", "mismatched")
    assert [q.label for q in released.quant_specs("resnet18")] == ["4w8a-released"]
    assert [q.label for q in released.quant_specs("mobilenetv2")] == ["2w-released"]


def test_the_released_protocol_turns_the_published_options_on():
    paper, released = with_overrides(BASE, []), with_overrides(BASE, ["protocol=released"])
    assert paper.method_params("qmul", "cifar10", {})["label_rule"] == "equation"
    assert released.method_params("qmul", "cifar10", {})["label_rule"] == "released"
    assert not paper.original_params().decay_quantizers
    assert released.original_params().decay_quantizers
    assert released.retrain_params().decay_quantizers


@pytest.mark.parametrize("method", ["rl", "salun", "qmul", "qmul_no_sl", "qmul_no_agr"])
def test_the_released_order_of_passes_depends_on_the_data_set(method):
    released = with_overrides(BASE, ["protocol=released", "datasets=cifar10,cifar100"])
    assert released.method_params(method, "cifar10", {})["order"] == "sequential"
    assert released.method_params(method, "cifar100", {})["order"] == "joint"


def test_what_a_user_sets_wins_over_the_released_protocol():
    fields = ["quantizers=4w4a", "split=one", "select_on=validation", "params.qmul.order=joint"]
    trained = ["original.decay_quantizers=false"]
    spec = with_overrides(BASE, ["protocol=released", *fields, *trained])
    assert (spec.selects_on, spec.splits) == ("validation", "one")
    assert [q.label for q in spec.quant_specs("resnet18")] == ["4w4a"]
    assert spec.method_params("qmul", "cifar10", {})["order"] == "joint"
    assert not spec.original_params().decay_quantizers
    assert not spec.retrain_params().decay_quantizers


def test_a_variants_options_win_over_the_grids_which_win_over_the_protocols():
    spec = with_overrides(BASE, ["protocol=released", "params.qmul.norm=dataset", "params.qmul.order=joint"])
    params = spec.method_params("qmul:norm=global", "cifar10", {"lr": 0.03})
    assert (params["norm"], params["order"], params["label_refresh"]) == ("global", "joint", "epoch")
    assert params["lr"] == 0.03
    plain = spec.method_params("qmul:protocol=paper", "cifar10", {})
    assert (plain["norm"], plain["label_refresh"]) == ("dataset", "once")


def test_one_method_may_follow_the_published_code_in_a_grid_that_does_not():
    params = with_overrides(BASE, []).method_params("salun:protocol=released", "cifar10", {})
    assert (params["masked_weights"], params["order"]) == ("decaying", "sequential")


def test_the_probe_reaches_the_methods_that_have_one():
    spec = with_overrides(BASE, ["probe=128", "params.ga.probe=16"])
    probes = {
        m: spec.method_params(m, "cifar10", {}).get("probe") for m in ("rl", "salun", "qmul", "ga", "iu")
    }
    assert probes == {"rl": 128, "salun": 128, "qmul": 128, "ga": 16, "iu": None}
    assert "probe" not in with_overrides(BASE, []).method_params("rl", "cifar10", {})


def test_an_option_that_came_later_is_in_a_key_only_where_it_is_used():
    """So stores from before it stay valid."""
    plain, some = (with_overrides(BASE, list(o)) for o in ((), ("params.qmul.norm_images=512",)))
    assert "norm_images" not in plain.method_params("qmul", "cifar10", {})
    assert some.method_params("qmul", "cifar10", {})["norm_images"] == 512


def test_a_word_option_may_be_written_bare():
    spec = with_overrides(BASE, ["params.qmul.norm_labels=true"])
    assert spec.method_params("qmul", "cifar10", {})["norm_labels"] == "true"


def test_the_default_methods_are_the_papers_eight():
    assert GridSpec.model_validate(BASE).methods == PAPER_METHODS
    assert len(PAPER_METHODS) == 8


def test_labels_are_kept_in_their_canonical_form_and_once():
    spec = with_overrides(
        BASE, ["methods=ft,qmul:order=sequential:norm=dataset,qmul:norm=dataset:order=sequential,ft"]
    )
    assert spec.methods == ("ft", "qmul:norm=dataset:order=sequential")


def test_a_value_that_is_repeated_counts_once():
    spec = with_overrides(BASE, ["seeds=2,1,2", "datasets=svhn,svhn", "ratios=0.1,0.10"])
    assert (spec.seeds, spec.datasets, spec.ratios) == ((2, 1), ("svhn",), (0.1,))


def test_the_spec_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        digits().recipe = "other"


def test_params_all_reach_every_method_that_has_them_and_yield_to_its_own():
    spec = with_overrides(BASE, ["params.all.batch_size=32", "params.all.epochs=3", "params.ga.epochs=2"])
    assert {name: spec.method_params(name, "cifar10", {}).get("epochs") for name in ("ft", "ga", "iu")} == {
        "ft": 3,
        "ga": 2,
        "iu": None,
    }
    assert spec.method_params("iu", "cifar10", {})["batch_size"] == 32


def test_what_params_all_sets_is_not_searched():
    assert with_overrides(BASE, ["params.all.lr=0.01"]).fixed("salun") == {"lr"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "params.all.batch_sise=64",
            "unknown hyper-parameter in params.all 'batch_sise': did you mean 'batch_size'",
        ),
        ("params.all.lr=-1", "params.all: lr: input should be greater than 0 (got '-1')"),
        ("params.all.order=mixed", "'joint' or 'sequential'"),
    ],
)
def test_a_wrong_entry_of_params_all_is_one_line(override, expected):
    with pytest.raises(BadInput) as caught:
        with_overrides(BASE, [override])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grid_may_forget_a_share_and_a_class():
    assert GridSpec.model_validate(BASE | {"classes": [3]}).classes == (3,)
    both = with_overrides(BASE, ["ratios=0.3", "classes=3"])
    assert (both.ratios, both.classes) == ((0.3,), (3,))
    assert with_overrides(both.model_dump(mode="json"), ["classes=4"]).ratios == (0.3,)


@pytest.mark.parametrize(
    ("classes", "expected"), [("cat", (3,)), ("3,Dog", (3, 5)), (["ship", 8], (8,)), (0, (0,))]
)
def test_classes_may_be_named(classes, expected):
    assert GridSpec.model_validate(BASE | {"ratios": (), "classes": classes}).classes == expected


def test_every_named_class_has_its_own_name():
    for dataset, names in CLASS_NAMES.items():
        assert len(set(names)) == DATASETS[dataset].classes


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"classes": "cta"}, "unknown class of cifar10 'cta': did you mean 'cat'"),
        ({"classes": "cat", "datasets": "svhn"}, "give a number for 'cat'"),
        ({"classes": "orchid", "datasets": "cifar10,cifar100"}, "unknown class of cifar10 'orchid'"),
    ],
)
def test_a_class_that_nobody_named_is_one_line(values, expected):
    with pytest.raises(BadInput, match=expected):
        parse_spec(BASE | {"ratios": ()} | values)
