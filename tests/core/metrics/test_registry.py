"""The registry of metrics: what an entry says, and what measuring makes of it."""

import os
import subprocess
import sys

import pytest

from core.errors import BadInput
from core.metrics.gap import FIGURES
from core.metrics.metric import MAIN, Estimate, Metric
from core.metrics.registry import METRICS, all_columns, columns, measure


def test_the_figures_that_ag_averages_are_registered_and_stand_in_the_main_table():
    assert all(METRICS[name].table == MAIN for name in FIGURES)
    assert all(METRICS[name].better == "closer to Retrain" for name in FIGURES)


def test_every_metric_says_how_it_is_shown():
    for name, metric in METRICS.items():
        assert name.isidentifier()
        assert metric.title
        assert metric.digits is None or metric.digits >= 0
        assert metric.scale > 0
        assert not metric.chart or metric.about, f"{name} has a chart and no sentence beneath it"


def test_an_interval_has_two_columns_more():
    assert columns("fa") == ("fa",)
    assert columns("mia_auc") == ("mia_auc", "mia_auc_low", "mia_auc_high")
    assert len(set(all_columns())) == len(all_columns())


def test_measuring_asks_the_metrics_of_a_source_or_some_of_them(monkeypatch):
    monkeypatch.setitem(
        METRICS, "twice", Metric(lambda row: 2 * row["seconds"], "Twice", "s", "lower", 1, "training")
    )
    assert measure("training", {"seconds": 3.0}) == {"seconds": 3.0, "twice": 6.0}
    assert measure("training", {"seconds": 3.0}, only=("twice",)) == {"twice": 6.0}


def test_an_estimate_fills_its_columns_and_nothing_leaves_them_empty(monkeypatch):
    for value in (Estimate(2, 1, 3), None):
        entry = Metric(lambda _row, value=value: value, "Known", "%", None, 1, "training", interval=True)
        monkeypatch.setitem(METRICS, "known", entry)
        found = measure("training", {}, only=("known",))
        assert found == dict(zip(("known", "known_low", "known_high"), value or (None,) * 3, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Estimate(1, float("nan"), 2)])
def test_a_number_that_is_none_is_refused(monkeypatch, value):
    interval = isinstance(value, Estimate)
    entry = Metric(lambda _row: value, "Odd", "%", None, 1, "training", interval=interval)
    monkeypatch.setitem(METRICS, "odd", entry)
    with pytest.raises(BadInput, match=r"metric odd gives .* which is no number"):
        measure("training", {}, only=("odd",))


def test_an_interval_that_is_not_announced_is_refused(monkeypatch):
    monkeypatch.setitem(METRICS, "odd", Metric(lambda _: Estimate(2, 1, 3), "Odd", "%", None, 1, "training"))
    with pytest.raises(BadInput, match="metric odd gives an interval"):
        measure("training", {}, only=("odd",))


def test_a_report_reads_the_registry_without_loading_torch():
    code = "import sys; from core.metrics import METRICS; assert METRICS; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_metric_of_another_package_comes_by_its_entry_point(tmp_path):
    """In a process of its own, as entry points are looked up once."""
    (tmp_path / "theirs.py").write_text(
        "from core.metrics.metric import Metric\n"
        "def on_forgotten(seen): return 100 * float(seen.forget.confidence.mean())\n"
        "METRIC = Metric(on_forgotten, 'Confidence', '%', 'closer to Retrain', 1)\n"
    )
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[unlearn_grid.metrics]\nconfidence = theirs:METRIC\n")
    code = "from core.metrics import METRICS; print(list(METRICS)[-1], METRICS['confidence'].title)"
    found = os.pathsep.join([str(tmp_path), *sys.path])
    said = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": found}, capture_output=True, text=True
    )
    assert (said.stdout, said.stderr) == ("confidence Confidence\n", "")
