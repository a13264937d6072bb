"""Specifications of the charts, without a browser: valid, complete, and the same colours everywhere."""

import json

import pytest

from core.metrics import METRICS
from core.unlearn import METHODS
from orchestrator.report.charts import charts as charts_of_problem, overview_chart, spec_of
from orchestrator.report.charts.files import drawing, write_charts
from orchestrator.report.charts.page import Charts, make_charts
from orchestrator.report.charts.parts import Along, Scope
from orchestrator.report.charts.rows import scope_of
from orchestrator.report.contents import read_grid
from orchestrator.report.tabulation import build_tables
from orchestrator.report.writing import write_report
from orchestrator.spec import titles
from orchestrator.spec.colours import colour_of
from orchestrator.spec.recipes import full
from orchestrator.spec.specification import SearchSpec
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

CHARTS = charts_of_problem()
EVERY = {**CHARTS, "overview": overview_chart()}
SCOPE = Scope(
    ("original", *METHODS, "qmul:order=sequential"),
    (("ft", (("lr", True),)), ("iu", (("alpha", True),)), ("salun", (("lr", True), ("fraction", False)))),
    frozenset(METHODS),
    frozenset({"qmul"}),
    problems=3,
    along=(
        Along("fraction", ("amnesiac", "amnesiac:tune_epochs=2", "label_flip"), log=True, stored=True),
        Along("affected_share", ("amnesiac:fraction=0.1",), measured=True),
    ),
    class_wise=True,
)


def charts(curve=3, **changes) -> tuple[Fake, Charts]:
    store = Store("memory://charts")
    store.remove("")
    fake = Fake(store, small_spec(**changes), curve=curve)
    fake.fill()
    found = read_grid(store, fake.spec, fake.plan)
    return fake, make_charts(found)


def parts(value, name):
    """Every value of a key, however deep."""
    if isinstance(value, dict):
        yield from ([value[name]] if name in value else [])
        for inner in value.values():
            yield from parts(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner, name)


@pytest.mark.parametrize("name", EVERY)
class TestSpecifications:
    def test_is_valid_vega_lite(self, name):
        assert EVERY[name].build(SCOPE).to_dict(validate=True)

    def test_names_every_axis_and_carries_neither_rows_nor_addresses(self, name):
        spec = spec_of(EVERY[name], SCOPE)
        for encoding in parts(spec, "encoding"):
            for axis in ("x", "y"):
                if axis in encoding and "value" not in encoding[axis]:
                    given = encoding[axis].get("title") or encoding[axis].get("axis", {}).get("title")
                    assert given or encoding[axis]["field"] in ("zero", "floor", *METRICS), encoding[axis]
        assert "datasets" not in spec
        assert not list(parts(spec, "values")) or all(
            isinstance(tick, int | float) for ticks in parts(spec, "values") for tick in ticks
        )
        assert "http" not in json.dumps(spec)

    def test_a_method_has_its_colour(self, name):
        for colour in parts(spec_of(EVERY[name], SCOPE), "color"):
            if isinstance(colour, dict) and "scale" in colour:
                domain, colours = colour["scale"]["domain"], colour["scale"]["range"]
                labels = (*SCOPE.labels, *(label for along in SCOPE.along for label in along.labels))
                expected = {titles.title(label): colour_of(label) for label in labels}
                assert dict(zip(domain, colours, strict=True)).items() <= expected.items()


class TestRows:
    def test_every_trial_is_a_row_with_its_key(self):
        fake, made = charts(seeds=(1, 2))
        rows = made.data["1"]["trials"]
        assert len(rows) == 2 * 3 * 3
        keys = {key[:12] for key, record in fake.rows.items() if record.kind == "evaluate"}
        assert {row["key"] for row in rows} <= keys
        assert sum(row["state"] == "selected" for row in rows) == 2 * 3
        assert {row["method"] for row in rows} == {"FT", "SalUn", "Q-MUL"}

    def test_seeds_give_intervals_and_a_floor(self):
        _, made = charts(seeds=(1, 2, 3))
        lines = {row["method"]: row for row in made.data["1"]["lines"]}
        assert lines["Q-MUL"]["ag_low"] < lines["Q-MUL"]["ag"] < lines["Q-MUL"]["ag_high"]
        assert len(made.data["1"]["floor"]) == 1
        _, made = charts()
        lines = {
            row["method"]: row for row in made.data["1"]["lines"]
        }  # one seed: what its images leave open
        assert lines["Q-MUL"]["ag_low"] < lines["Q-MUL"]["ag"] < lines["Q-MUL"]["ag_high"]
        assert "seconds_low" not in lines["Q-MUL"]
        assert made.data["1"]["floor"] == []

    def test_what_has_nothing_to_show_is_left_out(self):
        names = [shown.name for shown in charts()[1].problems[0]]
        assert set(names) == set(CHARTS) - {"options"}
        names = [shown.name for shown in charts(search=SearchSpec(trials=1))[1].problems[0]]
        assert not {"lr_curves", "other_curves"} & set(names)
        names = [shown.name for shown in charts(methods=("retrain", "ft"))[1].problems[0]]
        assert not {"norms", "weights", "other_curves"} & set(names)

    def test_an_overview_where_there_are_several_problems(self):
        assert charts()[1].overview is None
        _, made = charts(ratios=(0.1, 0.3))
        assert made.overview is not None
        assert {row["table"] for row in made.data["overview"]["problems"]} == {"#table-1", "#table-2"}

    def test_a_specification_serves_every_problem(self):
        one, many = charts()[1], charts(ratios=(0.1, 0.3, 0.5))[1]
        assert {
            name: spec for name, spec in many.specs.items() if name != "overview"
        }.keys() == one.specs.keys()
        assert len(many.all) == 3 * len(one.all) + 1

    def test_the_page_data_ends_no_script(self):
        text = charts()[1].json
        assert not {"<", ">", "&"} & set(text)
        page = json.loads(text)
        packed = page["problems"]["1"]["trials"]
        assert all(len(row) == len(packed["names"]) for row in packed["rows"])

    def test_the_axis_of_gaps_is_logarithmic_only_where_they_lie_far_apart(self):
        def kinds(factor):
            store = Store("memory://charts")
            store.remove("")
            fake = Fake(store, small_spec())
            fake.fill()
            rows = [record.model_dump() for record in fake.rows.values()]
            for row in rows:
                row |= {"ag": {"ft": factor, "salun": 1.5, "qmul": 1.0}[row["method"]]} if row["ag"] else {}
            tables = build_tables(fake.spec, fake.plan, rows)
            made = spec_of(CHARTS["ag"], scope_of(tables, []))
            along = [one["x"] for one in parts(made, "encoding") if one.get("x", {}).get("field") == "ag"]
            return {x["scale"].get("type") for x in along}

        assert kinds(4.0) == {None}
        assert kinds(80.0) == {"symlog"}

    def test_each_set_has_a_weight_axis_of_its_own(self):
        spec = spec_of(CHARTS["weights"], SCOPE)
        titles_ = [
            {title for title in parts(panel, "title") if "set" in str(title)} for panel in spec["concat"]
        ]
        assert titles_ == [{"Weight of the forget set"}, {"Weight of the retain set"}]

    def test_every_series_has_a_colour_for_the_dark_page(self):
        page = json.loads(charts()[1].json)
        used = {c for scale in parts(page["specs"], "range") for c in scale if str(c).startswith("#")}
        assert used <= page["dark"].keys()
        assert not set(page["dark"].values()) & used

    def test_a_search_with_looks_on_the_way_tells_them_apart(self):
        rows = charts(methods=("retrain", "iu"))[1].data["1"]["trials"]
        assert {row["state"] for row in rows} == {"trial", "selected"}
        assert all(row["alpha"] for row in rows)
        assert not any("lr" in row for row in rows)


def test_files_of_every_chart_in_every_format():
    fake, made = charts(curve=1, ratios=(0.1, 0.3), methods=("retrain", "qmul"))
    made.problems[1:] = []
    made.problems[0] = made.problems[0][:1]
    names = write_charts(fake.store, made)
    stem = "report/charts/cifar10-resnet18-4w4a-random10-ag"
    assert names == [f"{at}.{e}" for at in ("report/charts/overview", stem) for e in ("svg", "png", "pdf")]
    assert fake.store.get(f"{stem}.svg").startswith(b"<svg")
    assert b"AG, percentage points" in fake.store.get(f"{stem}.svg")
    assert "CIFAR-10 · ResNet-18 · 4w4a · random 10 %" in fake.store.get(f"{stem}.svg").decode()
    assert fake.store.get(f"{stem}.png").startswith(b"\x89PNG")
    assert fake.store.get(f"{stem}.pdf").startswith(b"%PDF")


@pytest.mark.slow
def test_the_report_of_the_whole_paper_with_seeds_is_complete_and_small():
    """192 cells at three seeds with eight trials each."""
    store = Store("memory://charts")
    store.remove("")
    spec = full().model_copy(update={"seeds": (1, 2, 3), "search": SearchSpec(trials=8), "probe": 64})
    fake = Fake(store, spec, curve=10)
    fake.fill()
    found = read_grid(store, spec, fake.plan)
    write_report(store, spec, fake.plan, (), found)
    page = store.get("report/index.html")
    assert len(page) <= 8_000_000
    assert page.count(b"<article ") == 24
    assert page.count(b'class="plot"') == 24 * len(CHARTS.keys() - {"options"}) + 1
    assert len(store.get("report/trials.csv").splitlines()) == 1 + 24 * 3 * 7 * 8
    store.remove("")


def test_drawing_leaves_the_pages_specification_alone():
    _, made = charts()
    before = made.json
    for shown in made.all:
        assert drawing(made, shown)["datasets"] == made.data[shown.problem]
    assert made.json == before
