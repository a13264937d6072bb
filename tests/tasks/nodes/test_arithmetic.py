"""In what trainings compute: decided once for a store and a kind of machine, pinned by a grid, told by rows."""

import json

import pytest
import torch

from core import cpu
from core.quant import agreement
from core.train import autocast, bfloat16_share, chosen_precision, precision
from orchestrator import grid
from orchestrator.results import load_results
from orchestrator.spec.recipes import RECIPES
from tasks.job import Place
from tasks.nodes import arithmetic
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

CPU = torch.device("cpu")
FAST = arithmetic.Arithmetic(precision="bfloat16", integers=True, bfloat16_share=0.5, integer_share=0.7)
PLAIN = arithmetic.Arithmetic(precision="float32", integers=False, bfloat16_share=1.2, integer_share=1.0)


@pytest.fixture
def measured(monkeypatch):
    """What this machine's measurement will find, the first at the front; the process knows nothing yet."""
    found = []
    arithmetic._decided.cache_clear()
    monkeypatch.setattr(arithmetic, "_measured", lambda: found.pop(0))
    yield found
    arithmetic._decided.cache_clear()


def decided(place):
    with arithmetic.arithmetic_of(place, Store(place.store)) as used:
        return chosen_precision(CPU, "auto"), used.on


def test_the_first_worker_decides_for_all_of_its_kind(measured, tmp_path, monkeypatch):
    place = Place(str(tmp_path), device="cpu")
    measured += [FAST, PLAIN]
    assert decided(place) == ("bfloat16", True)
    arithmetic._decided.cache_clear()  # another process, whose own measurement would say otherwise
    assert decided(place) == ("bfloat16", True)
    assert measured == [PLAIN]
    monkeypatch.setattr(cpu, "kind", lambda: ["another processor"])
    arithmetic._decided.cache_clear()
    assert decided(place) == ("float32", False)
    assert len(Store(place.store).names("processors")) == 2


def test_of_two_that_decide_at_once_one_wins(measured, tmp_path, monkeypatch):
    place, store = Place(str(tmp_path), device="cpu"), Store(str(tmp_path))

    def meanwhile():
        arithmetic._decided.cache_clear()
        monkeypatch.setattr(arithmetic, "_measured", lambda: FAST)
        assert decided(place) == ("bfloat16", True)
        return PLAIN

    monkeypatch.setattr(arithmetic, "_measured", meanwhile)
    assert decided(place) == ("bfloat16", True)
    assert len(store.names("processors")) == 1


def test_a_decision_that_cannot_be_read_is_made_again(measured, tmp_path):
    place, store = Place(str(tmp_path), device="cpu"), Store(str(tmp_path))
    measured += [FAST, PLAIN]
    decided(place)
    (name,) = store.names("processors")
    store.put(f"processors/{name}", b'{"precision": "float16"}')
    arithmetic._decided.cache_clear()
    assert decided(place) == ("float32", False)


def test_a_grid_pins_it_without_a_measurement(measured, tmp_path):
    place = Place(str(tmp_path), device="cpu", precision="float32")
    assert decided(place) == ("float32", False)
    assert Store(place.store).names("processors") == []
    measured.append(PLAIN)
    assert decided(Place(str(tmp_path), device="cpu", precision="bfloat16")) == ("bfloat16", False)


def test_without_a_grid_auto_is_float32_on_cpus_and_a_precision_of_its_own_stays(measured, tmp_path):
    assert not autocast(CPU, "auto")._enabled
    measured.append(FAST)
    with arithmetic.arithmetic_of(Place(str(tmp_path), device="cpu"), Store(str(tmp_path))):
        assert autocast(CPU, "auto")._enabled
        assert not autocast(CPU, "float32")._enabled
    assert not autocast(CPU, "auto")._enabled


def test_a_processor_without_bfloat16_is_not_measured(monkeypatch):
    monkeypatch.setattr(cpu, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(cpu, "share_of_time", None)
    precision.bfloat16_share.cache_clear()
    assert bfloat16_share() == 1
    precision.bfloat16_share.cache_clear()


@pytest.mark.parametrize(("shares", "expected"), [((0.5, 0.7), FAST), ((1.1, 0.7), ("float32", True))])
def test_the_measurement_confirms_or_vetoes(monkeypatch, shares, expected):
    monkeypatch.setattr(arithmetic, "bfloat16_share", lambda: shares[0])
    monkeypatch.setattr(arithmetic, "integer_share", lambda _dtype: shares[1])
    monkeypatch.setattr(arithmetic, "integers_right", lambda: True)
    found = arithmetic._measured()
    assert found == expected if expected is FAST else (found.precision, found.integers) == expected
    monkeypatch.setattr(arithmetic, "integers_right", lambda: False)
    assert not arithmetic._measured().integers


@pytest.mark.parametrize(("pinned", "words"), [("auto", "bfloat16, integer forward"), ("float32", "float32")])
def test_rows_say_it_and_so_do_the_evaluations_of_their_models(
    measured, tiny, tmp_path, monkeypatch, pinned, words, capsys
):
    if not cpu.multiplies_bytes():
        words = words.partition(",")[0]
    measured.append(FAST)
    monkeypatch.setattr("core.quant.on_codes.FEWEST", 2**16)
    agreement.integers_right.cache_clear()
    values = tiny.model_dump(mode="json") | {"methods": ["retrain"], "precision": pinned}
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(values))
    assert (
        grid.main(
            ["run", "--spec", str(spec), "--executor", "inline", "--store", str(tmp_path / "s"), "--json"]
        )
        == 0
    )
    rows = load_results(str(tmp_path / "s"))
    said = {(row["kind"], row["precision"]) for row in rows.iter_rows(named=True)}
    assert said >= {("original", words), ("retrain", words), ("evaluate", words), ("data", None)}
    assert (
        words
        in (tmp_path / "s" / "report" / "report.md").read_text()
        + (tmp_path / "s" / "report" / "index.html").read_text()
    )


def test_recipes_whose_figures_documents_print_compute_alike_everywhere():
    pinned = {name for name, recipe in RECIPES.items() if recipe().precision == "float32"}
    assert pinned == {"digits", "fidelity", "cross_table", "cross_table_class"}


def test_a_store_of_before_goes_on_as_it_began(measured, tmp_path):
    fake = Fake(Store(str(tmp_path)), small_spec())
    fake.fill(skip=lambda node: node.kind not in ("data", "original"))
    measured.append(FAST)
    assert decided(Place(str(tmp_path), device="cpu")) == ("float32", False)
    assert measured == [FAST]
