"""A driver that finds a live one on its store changes nothing."""

from orchestrator import grid
from tasks.store.lease import Lease
from tasks.store.store import Store
from tests.orchestrator.grid_command import write_spec


def test_a_refused_driver_changes_nothing(tiny, tmp_path, capsys):
    spec, store = write_spec(tmp_path, tiny), Store(str(tmp_path / "s"))
    with Lease(store, print):
        arguments = ["run", "--spec", str(spec), "--store", store.address, "--executor", "inline"]
        assert grid.main(arguments) == 2
        assert "a live driver (host " in capsys.readouterr().err
        assert set(store.sizes("")) == {"lease.json"}
        assert grid.main(["status", *arguments[1:5]]) == 0  # who only looks needs no lease
