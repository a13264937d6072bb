"""Where a grid's cells are looked at in MLflow, found without loading it: reports need no more than addresses."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from orchestrator.spec import GridSpec
from orchestrator.tracking.client import PAGE, is_server
from orchestrator.tracking.mirror import experiment_name, tracking_uri
from orchestrator.tracking.views import run_page
from tasks.store import Store, public

UI_ADDRESS = "http://127.0.0.1:5000"  # where `ui` serves a database that has no server
_PATIENCE = 5.0  # seconds for an answer; a report goes without it
_CELLS = """
SELECT keys.value, runs.experiment_id, runs.run_uuid FROM runs
JOIN tags AS keys ON keys.run_uuid = runs.run_uuid AND keys.key = 'node_key'
JOIN tags AS kinds ON kinds.run_uuid = runs.run_uuid AND kinds.key = 'kind' AND kinds.value = 'cell'
WHERE runs.lifecycle_stage = 'active'
"""


def run_pages(spec: GridSpec, store: Store) -> dict[str, str]:
    """The page of each cell's run by the key of the node that holds its figures; empty where nobody knows."""
    uri = tracking_uri(spec, store) if spec.tracking.enabled else None
    try:
        if uri and uri.startswith("sqlite:///"):
            return dict(_in_file(Path(uri.removeprefix("sqlite:///"))))
        if uri and is_server(uri):
            return dict(_on_server(uri, experiment_name(spec)))
    except (OSError, sqlite3.Error, URLError, HTTPException, ValueError, KeyError, TypeError):
        pass  # a database of another version, a server that is away or wants a password
    return {}


def _in_file(file: Path) -> Iterator[tuple[str, str]]:
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
        for key, experiment, run in database.execute(_CELLS):
            yield key, run_page(UI_ADDRESS, experiment, run)


def _on_server(uri: str, experiment: str) -> Iterator[tuple[str, str]]:
    found = _asked(f"{uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(experiment)}")
    number = found["experiment"]["experiment_id"]
    query: dict[str, Any] = {"experiment_ids": [number], "filter": "tags.kind = 'cell'", "max_results": PAGE}
    while True:
        page = _asked(f"{uri}/api/2.0/mlflow/runs/search", query)
        for run in page.get("runs", ()):
            tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
            if "node_key" in tags:
                yield tags["node_key"], run_page(public(uri), number, run["info"]["run_id"])
        query["page_token"] = page.get("next_page_token")
        if not query["page_token"]:
            return


def _asked(address: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A server's answer; body: what is posted."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(address, data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=_PATIENCE) as answer:
        told: dict[str, Any] = json.load(answer)
    return told
