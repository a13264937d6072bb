"""Helpers of the tests that run whole grids: a command line on a specification, and rows to compare."""

import json
import subprocess
import sys

from tasks.record import from_parquet
from tasks.store.store import Store

# what depends on the clock and the machine
TIMINGS = {"seconds", "node_seconds", "finished_at", "hardware", "code_revision", "peak_memory", "gpu_share"}


def write_spec(folder, spec):
    """The specification as a file that --spec reads."""
    file = folder / "grid.yaml"
    file.write_text(json.dumps(spec.model_dump(mode="json")))
    return file


def start(spec_file, store, *arguments):
    """A grid in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "orchestrator.grid",
        "run",
        "--spec",
        str(spec_file),
        "--store",
        str(store),
    ]
    return subprocess.Popen(
        [*command, "--json", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def rows(store):
    """All rows of a store by key, without timings."""
    opened, found = Store(str(store)), {}
    for name in opened.names("parts"):
        (row,) = from_parquet(opened.get(f"parts/{name}"))
        found[row["key"]] = {k: v for k, v in row.items() if k not in TIMINGS}
    return found
