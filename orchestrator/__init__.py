"""From a grid's specification to its comparison: plan, run, store, track, report."""

from typing import Any

__all__ = ["load_results"]


def __getattr__(name: str) -> Any:
    """`from orchestrator import load_results`, without making every command import a table library."""
    if name != "load_results":
        raise AttributeError(f"module 'orchestrator' has no attribute '{name}'")
    from orchestrator.store import load_results

    return load_results
