import pytest

from orchestrator.plan.grid_plan import make_plan
from orchestrator.plan.search_points import point_of
from orchestrator.report.trials import edges_of, ends, evaluated_trials
from orchestrator.results.entries import collect
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec


def trials(change=lambda row: row, **changes):
    store = Store("memory://tried")
    store.remove("")
    fake = Fake(store, small_spec(**changes))
    fake.fill()
    rows = {key: change(record.model_dump()) for key, record in fake.rows.items()}
    return evaluated_trials(fake.plan, collect(fake.plan, rows.values()), rows)


def choose(tried):
    """Every selection takes the trial that tried this."""
    by_cell = {}

    def change(row):
        at = (row["method"], row["seed"])
        if row["kind"] == "evaluate" and row["tried"] and row["tried"].startswith(tried):
            by_cell[at] = row["key"]
        return row | ({"selected": by_cell.get(at)} if row["kind"] == "select" else {})

    return change


def test_every_trial_of_every_method_and_seed():
    found = trials(seeds=(1, 2))
    assert len(found) == 2 * 3 * 3
    assert sum(trial.selected for trial in found) == 2 * 3
    assert all(trial.whole for trial in found)
    for trial in found:
        gaps = [abs(trial.difference(name)) for name in ("fa", "ra", "ta", "mia")]
        assert trial.ag == pytest.approx(sum(gaps) / 4)
        assert trial.ag_validation == pytest.approx(trial.ag + 0.1)


@pytest.mark.parametrize(("tried", "end"), [("lr 0.001", "lower"), ("lr 0.1", "upper"), ("lr 0.01", None)])
def test_a_selected_value_at_an_end_is_told(tried, end):
    found = trials(choose(tried), methods=("retrain", "qmul"))
    lines = [edge.text for edge in edges_of(found)]
    wider = "[…,0.1]" if end == "lower" else "[0.001,…]"
    said = (
        f"Q-MUL's best {tried} is the {end} end of its range 0.001 to 0.1: the optimum may lie beyond;"
        f" search.ranges.qmul.lr={wider} widens it"
    )
    assert lines == ([said] if end else [])
    assert [ends(trial) for trial in found if trial.selected] == [{"lr": end} if end else {}]


def test_seeds_that_agree_are_one_line():
    (line,) = edges_of(trials(choose("lr 0.1"), seeds=(1, 2, 3), methods=("retrain", "qmul")))
    assert line.seeds == (1, 2, 3)
    assert "best lr 0.1 (seeds 1, 2, 3) is the upper end" in line.text


def test_one_trial_has_no_edges():
    from orchestrator.spec.specification import SearchSpec

    assert edges_of(trials(search=SearchSpec(trials=1))) == []


def test_points_are_read_back_as_the_plan_wrote_them():
    plan = make_plan(small_spec(methods=("retrain", "salun", "l1_sparse", "iu")))
    nodes = [node for node in plan.nodes.values() if node.kind == "trial"]
    assert len(nodes) == 9
    for node in nodes:
        point = point_of(node.inputs["tried"])
        assert point
        assert all(
            node.inputs["params"][name] == pytest.approx(value, rel=1e-3) for name, value in point.items()
        )
    assert point_of(None) == {}
