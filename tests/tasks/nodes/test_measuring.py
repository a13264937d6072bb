"""What evaluations and selections copy from the models they look at."""

import pytest

from orchestrator.plan.grid_plan import make_plan
from tasks.job import Job, Place
from tasks.nodes.dispatch import run_node

COPIED = ("params", "seconds", "flip_rate", "step_drift")


@pytest.fixture(scope="module")
def rows(tiny_module, tmp_path_factory):
    """The rows of a tiny grid's nodes, and the nodes, by key."""
    folder = tmp_path_factory.mktemp("measuring")
    brief = {"original": {"epochs": 1, "batch_size": 32}, "retrain": {"epochs": 1}}
    values = tiny_module.model_dump(mode="json") | {"methods": ["retrain", "ft"], **brief}
    nodes = make_plan(type(tiny_module).model_validate(values)).nodes
    place = Place(str(folder / "store"), cache=str(folder / "cache"), device="cpu")
    return {key: (node, run_node(Job(node, place))) for key, node in nodes.items()}


def of_kind(rows, kind):
    return [record for node, record in rows.values() if node.kind == kind]


def test_a_trial_of_a_quantized_network_has_flip_rate_and_step_drift(rows):
    trials = of_kind(rows, "trial")
    assert len(trials) == 2
    for trial in trials:
        assert 0 < trial.flip_rate < 1
        assert trial.step_drift > 0
    assert trials[0].step_drift != trials[1].step_drift


def test_models_trained_from_scratch_changed_no_original(rows):
    for record in of_kind(rows, "original") + of_kind(rows, "retrain"):
        assert (record.flip_rate, record.step_drift) == (None, None)


def test_an_evaluation_copies_them_from_its_model(rows):
    evaluations = of_kind(rows, "evaluate")
    assert len(evaluations) == 4
    for record in evaluations:
        _, model = rows[record.model]
        assert [getattr(record, name) for name in COPIED] == [getattr(model, name) for name in COPIED]


def test_a_selection_copies_them_from_the_evaluation_it_chose(rows):
    (selection,) = of_kind(rows, "select")
    _, chosen = rows[selection.selected]
    assert selection.step_drift is not None
    assert [getattr(selection, name) for name in COPIED] == [getattr(chosen, name) for name in COPIED]


def test_a_selected_model_has_its_distance_to_retrain(rows):
    for chosen in of_kind(rows, "select"):
        for name in ("forget", "retain", "test"):
            assert 0 < getattr(chosen, f"activation_{name}") <= 2**0.5 + 1e-3
            assert 0 < getattr(chosen, f"js_{name}") <= 0.694
    assert all(record.activation_test is None for record in of_kind(rows, "evaluate"))
