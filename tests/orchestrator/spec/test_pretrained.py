"""Networks that start from a file of weights: named by path, keyed by digest, looked at before and where it is used."""

import csv
import io
import json

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from core.checkpoint import WEIGHTS, unpack
from core.errors import BadInput
from core.models import build
from core.models.weights import file_digest
from core.quant import QuantSpec
from core.seal import unsealed
from orchestrator import grid, load_model
from orchestrator.environment import make_place
from orchestrator.plan.grid_plan import make_plan
from orchestrator.report.tabulation import build_tables
from orchestrator.report.terminal_tables import print_tables
from orchestrator.results.reading import read_rows
from orchestrator.spec.overrides import with_overrides
from orchestrator.spec.specification import parse_spec
from orchestrator.tracking.notes import run_note
from tasks.job import Job
from tasks.nodes.failures import attempt
from tasks.store.store import Store

GRID = {
    "datasets": "digits",
    "archs": "lenet",
    "quantizers": ["fp", "4w4a"],
    "classes": [3],
    "methods": ["retrain", "ft"],
    "data": {"limit": 120},
    # so slow that weights stay where they began
    "original": {"epochs": 1, "batch_size": 32, "lr": 1e-9, "weight_decay": 0.0},
    "params": {"ft": {"epochs": 1, "batch_size": 32, "lr": 1e-9}},
    "retrain": {"epochs": 1},
    "search": {"trials": 1},
    "tracking": {"enabled": False},
}


def network(arch="lenet", classes=10, seed=5, **options):
    generator = torch.Generator().manual_seed(seed)
    return build(arch, classes, generator=generator, quant=QuantSpec.parse("fp"), **options)


def written(path, **options):
    save_file({name: t.contiguous() for name, t in network(**options).state_dict().items()}, path)
    return path


@pytest.fixture
def file(tmp_path):
    return written(tmp_path / "lenet.safetensors")


def spec_of(**values):
    return parse_spec(GRID | values)


def said(*overrides, **values):
    with pytest.raises(BadInput) as caught:
        with_overrides(GRID | values, list(overrides))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_path_stands_for_the_file_that_lies_there(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    spec = with_overrides(GRID, ["weights.lenet=lenet.safetensors"])
    assert spec.weights["lenet"].path == str(file)
    assert spec.weights["lenet"].sha256 == file_digest(file)
    file.unlink()
    assert parse_spec(json.loads(spec.model_dump_json())) == spec  # what a store remembers needs no file


def test_a_network_of_torchvision_has_a_colon_in_its_name(tmp_path):
    file = written(tmp_path / "a=b.safetensors", arch="tv:squeezenet1_1")
    spec = with_overrides(GRID | {"archs": "tv:squeezenet1_1"}, [f"weights.tv:squeezenet1_1={file}"])
    assert list(spec.weights) == ["tv:squeezenet1_1"]


def test_bad_input_is_one_line(file, tmp_path):
    assert "weights.lenet: " in said("weights.lenet=nowhere.pth")
    assert "nowhere.pth cannot be read (No such file or directory); where only" in said(
        "weights.lenet=nowhere.pth"
    )
    assert f"{tmp_path} cannot be read (Is a directory)" in said(f"weights.lenet={tmp_path}")
    assert "did you mean 'lenet'" in said(f"weights.lennet={file}")
    assert "(valid: lenet)" in said(f"weights.resnet18={file}")
    assert "weights.lenet.sha256: string should match" in said('weights.lenet={"path": "/x", "sha256": "12"}')
    assert "weights.lenet: " in said("weights.lenet=3")
    assert "did you mean 'weights.lenet.sha256'" in said(f'weights.lenet={{"path": "{file}", "sha": "12"}}')


def test_a_file_that_only_workers_have_is_named_with_its_digest():
    spec = with_overrides(GRID, [f'weights.lenet={{"path": "/there/x.pth", "sha256": "{"0f" * 32}"}}'])
    assert make_place(spec, "store").weights == {"lenet": "/there/x.pth"}
    assert {n.inputs["weights"] for n in make_plan(spec).nodes.values() if "weights" in n.inputs} == {
        "0f" * 32
    }


def test_keys_hold_the_file_and_not_its_place(file, tmp_path):
    plain, begun = make_plan(spec_of()).nodes, make_plan(spec_of(weights={"lenet": str(file)})).nodes
    assert all("weights" not in node.inputs for node in plain.values())
    assert {node.kind for key, node in begun.items() if key in plain} == {"data"}
    assert {node.kind for node in begun.values() if "weights" in node.inputs} == {"original", "retrain"}
    copied = tmp_path / "copy.safetensors"
    copied.write_bytes(file.read_bytes())
    assert make_plan(spec_of(weights={"lenet": str(copied)})).nodes.keys() == begun.keys()
    other = written(tmp_path / "other.safetensors", seed=6)
    shared = make_plan(spec_of(weights={"lenet": str(other)})).nodes.keys() & begun.keys()
    assert {begun[key].kind for key in shared} == {"data"}


def test_the_hooked_original_starts_from_the_file_too(file):
    plan = make_plan(spec_of(methods=["mnemonic"], weights={"lenet": str(file)}))
    hooked = [node for node in plan.nodes.values() if "hook" in node.inputs]
    assert hooked
    assert all(node.inputs["weights"] == file_digest(file) for node in hooked)


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_file_of_another_network_is_refused_before_anything_begins(verb, tmp_path, capsys):
    file = written(tmp_path / "mlp.safetensors", arch="mlp")
    (tmp_path / "grid.json").write_text(json.dumps(GRID | {"weights": {"lenet": str(file)}}))
    arguments = [verb, "--spec", str(tmp_path / "grid.json"), "--store", str(tmp_path / "s")]
    assert grid.main([*arguments, "--executor", "inline"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{file} holds the weights of another network: it lacks" in line
    assert not (tmp_path / "s").exists()


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A grid in full precision and 4w4a whose networks start from a file, run here; and the file."""
    folder = tmp_path_factory.mktemp("begun")
    file = written(folder / "lenet.safetensors")
    (folder / "grid.json").write_text(json.dumps(GRID | {"weights": {"lenet": str(file)}}))
    arguments = ["--spec", str(folder / "grid.json"), "--store", str(folder / "s")]
    assert grid.main(["run", *arguments, "--executor", "inline", "--json"]) == 0
    return Store(str(folder / "s")), file


@pytest.mark.parametrize("quant", ["fp", "4w4a"])
@pytest.mark.parametrize("method", ["original", "retrain", "ft"])
def test_originals_and_retrain_start_from_the_file(begun, method, quant):
    store, _ = begun
    state, given = load_model(store.uri, method=method, quant=quant).state_dict(), network().state_dict()
    for name, tensor in given.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-5)


def test_a_report_needs_no_file_and_names_it(begun):
    store, file = begun
    spec = parse_spec(unsealed(store.get("spec.json")))
    plan = make_plan(spec)
    table = build_tables(spec, plan, read_rows(store, plan.nodes.keys())[0])[0]
    assert dict(table.facts)["Network"] == (
        f"LeNet, from lenet.safetensors (SHA-256 {file_digest(file)[:12]}…)"
    )
    assert not table.strict
    (caveat,) = table.caveats
    assert "unless that file never saw the forget set this is no Retrain in the strict sense" in caveat
    node = next(node for node in plan.nodes.values() if node.kind == "select")
    assert caveat in run_note(spec, node, store.uri, None)
    page, text, lines = (
        store.get(f"report/{n}").decode() for n in ("index.html", "report.md", "results.csv")
    )
    assert "no Retrain in the strict sense" in page
    assert "refused as reference, not strict" in page  # hardly trained, so at chance level too
    assert "no Retrain in the strict sense" in text
    read = list(csv.DictReader(io.StringIO(lines)))
    assert {(one["reference_start"], one["weights_saw"]) for one in read} == {(file_digest(file), "unknown")}
    console = Console(width=120, file=io.StringIO())
    print_tables(console, [table])
    assert "no Retrain in the strict sense" in " ".join(console.file.getvalue().split())


def test_who_knows_that_the_file_saw_nothing_declares_it(begun):
    store, _ = begun
    values = unsealed(store.get("spec.json"))
    spec = with_overrides(values, ["weights_saw.lenet=none"])
    plan = make_plan(spec)
    assert plan.nodes.keys() == make_plan(parse_spec(values)).nodes.keys()
    table = build_tables(spec, plan, read_rows(store, plan.nodes.keys())[0])[0]
    assert table.strict
    assert "as the grid declares (weights_saw.lenet=none)" in table.caveats[0]


def test_a_declaration_needs_a_file_and_a_known_word(file):
    assert "lenet starts from no file; name it with weights.lenet=…" in said("weights_saw.lenet=none")
    refused = said(f"weights.lenet={file}", "weights_saw.lenet=nothing")
    assert "weights_saw.lenet" in refused
    assert "'unknown' or 'none'" in refused


def test_a_head_for_other_classes_is_drawn_anew_by_the_seed(tmp_path):
    file = written(tmp_path / "lenet.safetensors", classes=7)
    plan = make_plan(spec_of(weights={"lenet": str(file)}, seeds=[1, 2], quantizers="fp"))
    place = make_place(spec_of(weights={"lenet": str(file)}), str(tmp_path / "s"))
    nodes = [node for node in plan.nodes.values() if node.kind in ("data", "original")]
    assert [attempt(Job(node, place)).failure for node in nodes] == [None] * 3
    first, second = (unpack(Store(place.store).read(node.key, WEIGHTS)) for node in nodes[1:])
    drawn = {name for name in first if not torch.allclose(first[name], second[name], atol=1e-5)}
    assert drawn == {"classifier.4.weight", "classifier.4.bias"}


@pytest.mark.parametrize("what", ["other", "missing"])
@pytest.mark.parametrize("kind", ["original", "retrain"])
def test_a_worker_whose_file_is_another_says_so(kind, what, file, tmp_path):
    spec = spec_of(weights={"lenet": str(file)})
    place, plan = make_place(spec, str(tmp_path / "s")), make_plan(spec)
    before = file_digest(file)
    if what == "other":
        written(file, seed=6)
        expected = (
            f"{file} is not the file of weights that was asked for: its SHA-256 is {file_digest(file)[:12]}…"
        )
        expected += f", not {before[:12]}…"
    else:
        file.unlink()
        expected = f"{file} cannot be read (No such file or directory)"
    nodes = {node.kind: node for node in plan.nodes.values()}
    assert attempt(Job(nodes["data"], place)).failure is None
    outcome = attempt(Job(nodes[kind], place))
    assert (outcome.failure, outcome.record.error_message) == ("bad input", expected)
