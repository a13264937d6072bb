"""Audits in the report: scores beside their floors in every format, pictures of what was kept, and MLflow's metrics."""

import csv
import io
from types import SimpleNamespace

import numpy as np
import pytest

from core.metrics.audit.attacks import ATTACKS, all_scores
from orchestrator.plan.grid_plan import Cell
from orchestrator.report.audit_images import audit_pictures
from orchestrator.report.audits import audit_tables, audits_csv, audits_latex, audits_markdown
from orchestrator.spec.specification import parse_spec
from orchestrator.tracking.mirror import Mirror
from tasks.record import Record, Score
from tasks.store.store import Store
from tests.one_problem import digits

AT = Cell("digits", "mlp", "4w4a", "random", 0.1, 1, "ft")
SPEC = parse_spec(digits().model_dump(mode="json") | {"audit": {"models": 6, "attacks": ["u_lira", "rmia"]}})
COLUMNS = list(all_scores(SPEC.audit_attacks))


def scores(value: float) -> dict[str, float]:
    """A row's columns: the floor is 50, from 45 to 55."""
    found = {"audit_models": 6.0}
    for column in COLUMNS:
        ends = {"": value, "_floor": 50.0, "_floor_low": 45.0, "_floor_high": 55.0}
        found |= {column + end: number for end, number in ends.items()}
    return found


def row(method: str, value: float) -> dict:
    record = Record(key=method, kind="audit", method=method)
    return record.model_dump() | scores(value)


@pytest.fixture
def tables():
    plan = SimpleNamespace(audits={AT._replace(method=m): m for m in ("original", "ft", "ga", "qmul")})
    failed = row("ga", 0) | {"status": "failed", "error_message": "the disk is full"}
    rows = {"original": row("original", 71.5), "ft": row("ft", 52.0), "ga": failed}
    return audit_tables(SPEC, plan, rows, {"ft": {"nomus": "too few images"}})


def test_a_score_stands_beside_its_floor_and_is_marked_where_the_floor_holds_it(tables):
    text = audits_markdown(tables)
    assert "| U-LiRA, % | 71.50 (50.00) | 52.00 (50.00) ≈R | – | – |" in text
    assert "GA: failed: the disk is full." in text
    assert "Q-MUL: missing." in text
    assert "6 models of each kind." in text
    assert "nomus left out: too few images." in text


def test_latex_and_csv_have_the_same(tables):
    (latex,) = audits_latex(tables)
    cells = latex.groups[0].rows[0]
    assert cells == (r"U-LiRA, \%", "71.50 (50.00)", r"52.00 (50.00) $\approx$R", "--", "--")
    assert latex.label == "tab:digits-mlp-4w4a-random-0-1-seed-1-audit"
    lines = list(csv.DictReader(io.StringIO(audits_csv(tables))))
    assert len(lines) == 2 * len(COLUMNS)
    assert lines[0]["method"] == "original"
    assert (lines[0]["like_retrain"], lines[-1]["like_retrain"]) == ("false", "true")
    assert float(lines[0]["value"]) == 71.5


def test_a_grid_without_an_audit_has_no_section():
    plan = SimpleNamespace(audits={})
    assert audit_tables(SPEC, plan, {}, {}) == []
    assert audits_markdown([]) == ""


def kept(images: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    names = ("original", "unlearned", "retrained", "unlearned_median", "retrained_median")
    return {
        "image": np.arange(images) + 100,
        "u_lira": np.linspace(0, 100, images),
        "roc_rmia": np.array([(0.001, 0.0), (0.1, 0.4), (1.0, 1.0)]),
        "pictured": np.array([100 + images - 1]),
        "pictures": random.integers(0, 256, (1, 3, 8, 8), dtype=np.uint8),
        **{name: random.normal(0, 3, images) for name in names},
    }


def test_pictures_are_drawn_from_what_the_node_kept(tables, tmp_path, monkeypatch):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **kept(40))
    store = Store(str(tmp_path))
    monkeypatch.setattr(Store, "read", lambda self, key, name: buffer.getvalue())
    found = audit_pictures(tables[0], store)
    titles = [title for title, _ in found.figures]
    assert titles == [
        "RMIA: true against false positives",
        "Images by U-LiRA's accuracy, %",
        "FT: margins after against before, and Retrain's (grey)",
    ]
    assert all(svg.startswith("<svg ") and "nan" not in svg for _, svg in found.figures)
    method, images = found.exposed[0]
    assert method == "Original"
    assert [image.number for image in images] == list(range(139, 129, -1))
    assert images[0].picture.startswith("data:image/png;base64,")
    assert images[1].picture == ""


def test_a_file_that_cannot_be_read_leaves_its_pictures_out(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "read", lambda self, key, name: b"?")
    found = audit_pictures(tables[0], Store(str(tmp_path)))
    assert (found.figures, found.exposed) == ([], [])


def test_mlflow_has_the_scores_as_metrics_of_the_cells_run(tmp_path):
    node = SimpleNamespace(parents=("select", "original", "retrain"), inputs=AT._asdict())
    plan = SimpleNamespace(nodes={"audit": node}, cells={AT: "select"}, originals={})
    mirror, logged = Mirror.__new__(Mirror), []
    runs = {"select": "run"}
    mirror.plan = plan
    mirror._tracker = SimpleNamespace(runs=runs, log=lambda run, points, *_: logged.append((run, points)))
    record = Record(key="audit", kind="audit", scores=[Score(name="u_lira", value=61.0)])
    mirror._add_beside(record)
    assert logged == [("run", [("audit/u_lira", 61.0, 0)])]
    mirror._add_beside(record.model_copy(update={"status": "failed"}))
    assert len(logged) == 1


def test_every_attack_that_has_a_curve_gives_members_and_others():
    assert {name for name, attack in ATTACKS.items() if attack.roc} == {
        "lira", "lira_offline", "rmia", "population",
    }  # fmt: skip
