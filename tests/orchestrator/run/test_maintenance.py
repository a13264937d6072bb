"""What is cleared away before a run."""

import os
import time

from orchestrator.run.maintenance import remove_leftovers
from tasks.store.store import Store


def test_old_leftovers_of_killed_writers_go_and_nothing_else(tmp_path):
    store = Store(str(tmp_path))
    names = ("artifacts/a/.model.safetensors.1f.tmp", "parts/.x.parquet.2e.tmp", ".lease.json.3d.new")
    young, kept = "manifests/.y.json.4c.tmp", ("artifacts/a/model.safetensors", ".gitignore", "notes.tmp")
    for name in (*names, young, *kept):
        store.put(name, b"x")
        if name != young:
            os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    remove_leftovers(store)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {young, *kept}
