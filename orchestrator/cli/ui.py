"""The verb `ui`: the MLflow UI of a store on loopback, and the addresses of the pages that people want."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

from rich.console import Console

from core.errors import BadInput
from orchestrator.cli.options import Options
from orchestrator.spec import GridSpec
from orchestrator.tracking import cells, compare_page, experiment_name, is_server, page, quiet, tracking_uri
from tasks import Unavailable
from tasks.store import Store, public

_PORT, _PATIENCE = 5000, 120.0  # seconds: a cold start took 7 to 19 on two busy cores
# No call home, no pool of workers for jobs that this project has none of, no lines of libraries.
_CALM = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
}
Pages = dict[str, str]


def ui(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Serves the MLflow UI of a store on this machine until it is interrupted.

    BadInput where there is nothing to show, or the port that was asked for is in use.
    """
    uri = tracking_uri(spec, store)
    if uri is None:
        raise BadInput(
            "a remote store has no MLflow of its own; start `mlflow ui` on the server that tracks it"
        )
    if is_server(uri):
        _say(_pages(uri, spec, store, public(uri)), options, console)
        return 0
    port = free_port(options.port)
    pages = _pages(uri, spec, store, f"http://127.0.0.1:{port}")
    if options.port is None and port != _PORT and not options.as_json:
        console.print(f"port {_PORT} is in use, so this is on {port}", style="yellow", highlight=False)
    return _serve(uri, port, pages, options, console)


def free_port(wanted: int | None) -> int:
    """The wanted port of the loopback interface; without a wish the first free one from 5000 on.

    BadInput, which names a free one, if the wanted port is in use or is none.
    """
    first = _PORT if wanted is None else wanted
    if not 1 <= first <= 65_535:
        raise BadInput(f"--port {first}: a port is a number from 1 to 65535, such as {_PORT}")
    if _is_free(first):
        return first
    other = next((port for port in range(first + 1, min(first + 200, 65_536)) if _is_free(port)), None)
    if other is None:
        raise BadInput(
            f"ports {first} and above are in use: end what listens there, or choose another --port"
        )
    if wanted is not None:
        raise BadInput(f"port {first} is in use: --port {other} is free, or leave --port out")
    return other


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _pages(uri: str, spec: GridSpec, store: Store, address: str) -> Pages:
    """What to open, by what it shows; BadInput if MLflow has no runs of this grid."""
    sync = f"`python -m orchestrator.grid sync --store {store.uri}` writes them from its rows"
    file = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not file.exists():
        why = "" if spec.tracking.enabled else " (tracking.enabled=false)"
        raise BadInput(f"no MLflow runs in {store.uri}{why}: {sync}")
    with quiet():
        found = cells(uri, experiment_name(spec))
    if found is None or not found.runs:
        raise BadInput(f"no finished cells in MLflow at {public(uri)}: run the grid, or {sync}")
    compared = _one_problem(spec, found.runs)
    return {
        "cells": page(address, found.experiment, "cells"),
        "charts": page(address, found.experiment, "trials", charts=True),
        "compare": compare_page(address, found.experiment, compared),
    }


def _one_problem(spec: GridSpec, runs: list[tuple[str, dict[str, str]]]) -> list[str]:
    """The cells of the problem with most methods, in the order of the grid's; of several the first by name."""
    problems: dict[tuple[str, ...], dict[str, str]] = {}
    axes = ("dataset", "arch", "quant", "scenario", "amount", "seed")
    for run, tags in runs:
        problems.setdefault(tuple(tags.get(axis, "") for axis in axes), {})[tags.get("method", "")] = run
    most = max(sorted(problems), key=lambda problem: len(problems[problem]))
    return [problems[most][method] for method in spec.methods if method in problems[most]]


def _say(pages: Pages, options: Options, console: Console, end: str = "") -> None:
    if options.as_json:
        console.print_json(data=pages)
        return
    words = {"cells": "one line for each method", "charts": "trials as charts", "compare": "side by side"}
    for name, address in pages.items():
        console.print(f"{name:8} {address}   ({words[name]})", highlight=False, soft_wrap=True, markup=False)
    if end:
        console.print(end, highlight=False)


def _serve(uri: str, port: int, pages: Pages, options: Options, console: Console) -> int:
    """Runs MLflow's server until Ctrl-C; the addresses are printed once it answers."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    quietly = ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *address, *quietly]
    if not options.as_json:
        console.print("starting the MLflow UI …", highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: with the server
    with tempfile.TemporaryFile() as said:  # its lines are of interest if it fails
        environment = {**_CALM, **os.environ}
        server = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
        try:
            _await(server, port)
            if server.poll() is None:
                _say(pages, options, console, "(Ctrl-C ends it)")
                sys.stdout.flush()
            server.wait()
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise Unavailable(f"MLflow's server ended: {lines[-1] if lines else 'without a word'}")
        except KeyboardInterrupt:
            return 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)  # MLflow's server and its workers
            server.wait()


def _await(server: "subprocess.Popen[bytes]", port: int) -> None:
    """Returns once the server answers, or has ended. Unavailable if it does neither in two minutes."""
    end = time.monotonic() + _PATIENCE
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (URLError, OSError):
            if time.monotonic() > end:
                raise Unavailable(f"MLflow did not answer on port {port} within {_PATIENCE:.0f} s") from None
            time.sleep(0.2)
