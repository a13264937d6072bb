"""Chosen networks in MLflow's registry: a version for each, whose source is where the store has it, never a copy."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from core.checkpoint import WEIGHTS
from orchestrator.plan import Cell
from orchestrator.spec import titles

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def model_name(recipe: str, cell: Cell) -> str:
    """`digits-resnet18-4w4a-random-30-qmul` of a recipe of the same name, its seeds being versions of it.

    Letters, digits, lines: what registered and logged models both take.
    """
    forgotten = titles.scenario(cell.scenario, cell.amount).removesuffix(" %")
    data = [] if cell.dataset == recipe else [cell.dataset]
    parts = [recipe, *data, cell.arch, cell.quant, forgotten, cell.method]
    return re.sub(r"[^\w-]+", "-", "-".join(parts))


def source_of(store: str, model: str) -> str:
    """The address of a model's folder in a store, as the registry wants it."""
    return f"{store if '://' in store else f'file://{store}'}/artifacts/{model}"


def register(client: "MlflowClient", run: str, name: str, source: str, tags: Mapping[str, str]) -> bool:
    """A version of a registered model that refers to a folder; False where the server takes none from there.

    A server refuses sources on its own disk that are no run's files, and a database may have no registry.
    """
    from mlflow.exceptions import MlflowException

    about = f"Weights: {WEIGHTS} in the source; orchestrator.load_model makes the network of them."
    try:
        if any(known.source == source for known in client.search_model_versions(f"run_id = '{run}'")):
            return True
        with suppress(MlflowException):  # another seed has made it
            client.create_registered_model(name)
        client.create_model_version(name, source, run, dict(tags), description=about)
    except MlflowException:
        return False
    return True


def log_model(client: "MlflowClient", experiment: str, run: str, name: str, tags: Mapping[str, str]) -> bool:
    """A model of the run that says in a tag where it lies; False where MLflow is too old to know such."""
    from mlflow.exceptions import MlflowException

    try:
        made = client.create_logged_model(experiment, name, run, dict(tags), model_type="torch")
        client.finalize_logged_model(made.model_id, "READY")
    except (MlflowException, AttributeError):
        return False
    return True
