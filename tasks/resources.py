"""How many workers there are, and what each may use: settled once, before any work."""

from dataclasses import dataclass

import torch

from core.errors import BadInput


@dataclass(frozen=True)
class Capacity:
    """Slots are training workers (gpus: each one's share, 0 on CPU); cpu_tasks workers run beside them."""

    slots: int
    gpus: float
    cpu_tasks: int

    @property
    def words(self) -> str:
        """For a person."""
        if self.gpus == 0:
            return f"{self.slots} CPU slots"
        return f"{self.slots} slots of {self.gpus:g} GPU"


def local_capacity(device: str) -> Capacity:
    """This process alone: one slot."""
    return Capacity(1, 1 if device != "cpu" and torch.cuda.is_available() else 0, 1)


def cluster_capacity(nodes: list[dict[str, float]], device: str, share: float, slots: int | None) -> Capacity:
    """Slots of a cluster, from the resources of its live nodes.

    Args:
        nodes: Ray resources per node ("CPU", "GPU").
        device: "auto" uses GPUs where there are any, "cuda" demands them, "cpu" ignores them.
        share: GPUs per slot: a fraction packs several slots on one GPU.
        slots: an upper bound, or None.

    Raises BadInput if no node can ever hold a slot.
    """
    cpus = sum(int(n.get("CPU", 0)) for n in nodes)
    largest = max((n.get("GPU", 0.0) for n in nodes), default=0.0)
    if device == "cuda" or (device == "auto" and largest > 0):
        found = [int(n.get("GPU", 0.0) / share + 1e-9) for n in nodes]
        if sum(found) == 0:
            raise BadInput(
                f"resources.gpus_per_slot={share:g}: no node has that many GPUs (the largest has {largest:g})"
            )
        count = min(sum(found), slots or sum(found))
        return Capacity(count, share, max(1, min(cpus - count, 2 * count, 16)))
    return Capacity(min(cpus, slots or cpus) or 1, 0, max(1, min(cpus // 2, 16)))
