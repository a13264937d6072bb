"""What a grid's data sets were read from, and what their readers had to say of the files."""

from orchestrator.plan import Plan
from tasks import Node
from tasks.store import Corrupt, Manifest, Store


def data_remarks(store: Store, grid: Plan) -> list[str]:
    """A line for each remark on data that have been read, and one for what stood for image and label."""
    nodes = {key: node for key, node in grid.nodes.items() if node.kind == "data"}
    broken: dict[str, Corrupt] = {}
    found = store.manifests(nodes, broken)
    return [line for key, manifest in found.items() for line in _lines(nodes[key], manifest)]


def _lines(node: Node, manifest: Manifest) -> list[str]:
    source = str(manifest.facts.get("source", ""))
    chosen = [f"read from {source}"] if ":" in source else []
    return [f"{node.inputs['dataset']}: {said}" for said in (*chosen, *manifest.facts.get("remarks", ()))]
