"""How many workers there are, and what each may use: settled once, before any work."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.errors import BadInput
from core.lazy import torch


@dataclass(frozen=True)
class Capacity:
    """Slots are training workers (gpus: each one's share, 0 on CPU); cpu_tasks workers run beside them.

    coming: how many of the slots wait for machines that the cluster has yet to start. trials: how many nodes may
    train on one GPU at a time, if their measured memory allows it.
    """

    slots: int
    gpus: float
    cpu_tasks: int
    coming: int = 0
    trials: int = 1

    @property
    def words(self) -> str:
        """For a person."""
        kind = "CPU slots" if self.gpus == 0 else f"slots of {self.gpus:g} GPU"
        packed = f" with up to {self.trials} trials" if self.trials > 1 else ""
        coming = f", {self.coming} of them when machines come" if self.coming else ""
        return f"{self.slots} {kind}{packed}{coming}"


class Group(NamedTuple):
    """Machines of one kind that an autoscaler may start: what each has ("CPU", "GPU"), and how many at most."""

    resources: dict[str, float]
    most: int


def local_capacity(device: str) -> Capacity:
    """This process alone: one slot."""
    return Capacity(1, 1 if device != "cpu" and torch.cuda.is_available() else 0, 1)


def spare_processes(capacity: Capacity) -> int:
    """How many processes may evaluate beside the one that trains: none on CPUs, which they would share.

    Evaluating takes a core a few seconds for each training: four keep up with any GPU.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(cores - 2, 4)) if capacity.gpus else 0


def cluster_capacity(
    nodes: list[dict[str, float]],
    device: str,
    share: float,
    slots: int | None,
    groups: Sequence[Group] = (),
) -> Capacity:
    """Slots of a cluster, from the resources of its live nodes and of those it may still start.

    Args:
        nodes: Ray resources per live node ("CPU", "GPU").
        device: "auto" uses GPUs where there are or will be any, "cuda" demands them, "cpu" ignores them.
        share: GPUs per slot: a fraction packs several slots on one GPU.
        slots: an upper bound, or None.
        groups: what an autoscaler may start; a cluster without GPUs now may be one with GPUs in a minute.

    Raises BadInput if no node, there or to come, can ever hold a slot.
    """
    possible = [group.resources for group in groups if group.most > 0]
    largest = max((n.get("GPU", 0.0) for n in [*nodes, *possible]), default=0.0)
    cpus = sum(int(n.get("CPU", 0)) for n in nodes)
    if device == "cuda" or (device == "auto" and largest > 0):
        here = sum(_slots(n, "GPU", share) for n in nodes)
        most = max(here, sum(_slots(g.resources, "GPU", share) * g.most for g in groups))
        if most == 0:
            raise BadInput(
                f"resources.gpus_per_slot={share:g}: no node has that many GPUs (the largest has {largest:g})"
            )
        count = min(most, slots or most)
        return Capacity(count, share, max(1, min(cpus - count, 2 * count, 16)), max(count - here, 0))
    most = max(cpus, sum(_slots(g.resources, "CPU", 1) * g.most for g in groups))
    if most == 0:
        raise BadInput("no node of the cluster has a CPU for work, nor will one: give its nodes CPUs")
    count = min(most, slots or most)
    return Capacity(count, 0, max(1, min(most // 2, 16)), max(count - cpus, 0))


def _slots(resources: dict[str, float], name: str, share: float) -> int:
    """How many slots of a share fit on one machine; one slot never spans two."""
    return int(resources.get(name, 0.0) / share + 1e-9)
