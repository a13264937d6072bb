"""What a request came to, in words beneath the table, in the row's columns and in results.csv."""

import csv
import io

import polars as pl
import pytest

from orchestrator.report.contents import read_grid
from orchestrator.report.csv_files import results_csv
from orchestrator.report.markdown import markdown_table
from orchestrator.report.tables import Table
from orchestrator.report.tabulation import build_tables
from orchestrator.results.reading import load_results
from tasks.store.store import Store
from tests.orchestrator.fake_results import REQUESTS, Fake, small_spec

TITLES = {"certified": "Certified Removal", "sisa": "SISA", "arcane": "ARCANE"}
FILE = {"resnet18": {"path": "/public/backbone.safetensors", "sha256": "ab" * 32}}


def notes_of(method: str, facts: dict[str, float] | None = None, **changes) -> list[str]:
    """The notes about a method beneath the only table of a grid, see `table_of`."""
    return [
        note
        for note in table_of(method, facts, **changes).notes
        if note.startswith(TITLES[method.partition(":")[0]])
    ]


def table_of(method: str, facts: dict[str, float] | None = None, **changes) -> Table:
    """facts: by name, in the place of the made ones."""
    fake = Fake(None, small_spec(methods=("retrain", method), **changes))
    rows = [record.model_dump() for record in fake.fill()]
    for fact in (fact for row in rows for fact in row["curve"] or ()):
        fact["value"] = (facts or {}).get(fact["name"], fact["value"])
    (table,) = build_tables(fake.spec, fake.plan, rows)
    return table


def test_a_head_certificate_covers_the_head_alone_where_the_features_saw_the_forget_set():
    table = table_of("certified")
    said = (
        "Certified Removal: head certificate, ε = 1.1 at δ = 0.0001 (residual bound 0.25); it covers the linear head"
        " alone: the features beneath it saw the forget set"
    )
    assert said in table.notes
    assert f"- {said}" in markdown_table(table)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantizers": ("fp",)}, "covers the whole network: they were frozen as they were drawn"),
        ({"quantizers": ("4w4a",)}, "head alone: the quantizers of the frozen features"),
        ({"quantizers": ("fp",), "weights": FILE}, "come from backbone.safetensors, which may have seen"),
        (
            {"quantizers": ("fp",), "weights": FILE, "weights_saw": {"resnet18": "none"}},
            "never saw the forget set, so it covers the whole network: they are frozen from backbone.safetensors",
        ),
    ],
)
def test_it_covers_everything_where_frozen_features_never_saw_the_forget_set(changes, said):
    (note,) = notes_of("certified:backbone=frozen", **changes)
    assert said in note


def test_the_largest_of_several_seeds_is_told_and_that_a_large_one_promises_nothing():
    (note,) = notes_of("certified", {"head_certificate_epsilon": 1430.2}, seeds=(1, 2))
    assert "ε = 1,430 at δ = 0.0001 (residual bound 0.25, the largest of 2 seeds)" in note
    assert note.endswith("an ε above 10 promises next to nothing")


def test_what_a_request_reached_and_what_the_networks_cost_a_device():
    """An eighth of ResNet-18 has 176,402 parameters and takes 8.87 million multiply-accumulates."""
    reached, cost = notes_of("sisa", widths={"resnet18": 0.125})
    assert (
        reached
        == "SISA: the request reached 3 of 5 networks, from slice 2 on; 40 % of the training was done again"
    )
    assert cost == (
        "SISA: on a device it is 5 × 0.176 = 0.882 million parameters in memory (as float32 0.706 MB for one network,"
        " 3.53 MB for all) and 5 × 8.87 = 44.4 million multiply-accumulates an answer; one after another they take"
        " about 5 times one network's latency (counted, not measured)"
    )


def test_a_request_that_reached_no_network_has_no_slice():
    assert "reached 0 of 10 networks; 0 %" in notes_of("arcane")[0]


def test_one_network_costs_what_one_costs():
    assert len(notes_of("sisa", {"networks": 1.0, "affected_shards": 1.0})) == 1


def test_other_methods_say_nothing_of_it():
    assert not [note for note in table_of("ft").notes if "network" in note or "certificate" in note]


def test_rows_of_models_and_of_their_evaluations_have_the_facts_as_columns_and_so_has_the_csv_file():
    store = Store("memory://method_facts")
    store.remove("")
    fake = Fake(store, small_spec(methods=("retrain", "ft", "sisa", "certified")))
    fake.fill()
    frame = load_results(store.uri)
    for method in ("sisa", "certified"):
        rows = frame.filter(
            (pl.col("method") == method) & pl.col("kind").is_in(["trial", "evaluate", "select"])
        )
        assert set(rows["kind"]) >= {"trial", "evaluate"}
        for name, value in REQUESTS[method].items():
            assert set(rows[name]) == {value}
    others = frame.filter(~pl.col("method").is_in(["sisa", "certified"]))
    assert others.select(*REQUESTS["sisa"], *REQUESTS["certified"]).drop_nulls().is_empty()

    found = read_grid(store, fake.spec, fake.plan)
    text = results_csv(found.entries, found.tables, fake.spec)
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(text))}
    assert float(lines["sisa"]["affected_shards"]) == 3
    assert float(lines["certified"]["head_certificate_epsilon"]) == 1.1
    assert lines["ft"]["networks"] == lines["ft"]["head_certificate_bound"] == ""
