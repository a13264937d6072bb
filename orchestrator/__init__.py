"""From a grid's specification to its comparison: plan, run, store, track, report."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.checkpoints import load_model
    from orchestrator.store import load_results

__all__ = ["load_model", "load_results"]

_WHERE = {"load_model": "orchestrator.checkpoints", "load_results": "orchestrator.store"}


def __getattr__(name: str) -> Any:
    """`from orchestrator import load_results`, without making every command import a table library."""
    if name not in _WHERE:
        raise AttributeError(f"module 'orchestrator' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)
