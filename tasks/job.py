"""What travels between driver and worker: a node and where to work on the way out, an outcome on the way back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from core.train import Precision
from tasks.node import Node
from tasks.record import Record

# store: nothing is wrong with the node; what it found could not be written, and it will be computed again
FailureKind = Literal["bad input", "numeric", "memory", "corrupt", "store", "system"]


@dataclass(frozen=True)
class Place:
    """Where and with what to work; nothing here may change a result beyond rounding, so none of it is in a key.

    store: URI, with its secrets if it has any. data_root: folder of the data sets. cache: folder for decoded
    images. None puts either into the user's cache folder of the machine that works. device: "auto", "cpu" or
    "cuda". threads: CPU threads per training node; the same for every executor, because sums depend on how
    they are divided. checkpoint_epochs: epochs between two states that a training leaves to go on from.
    gpu_share: GPUs of a slot; below 1, a worker may take no more than this share of the memory. An executor
    that packs by measured memory sets it for every node. compiled: architectures whose training is
    compiled, see `core.train.forward`; must_compile: also where torch finds no compiler, which is then an error.
    precision: what `auto` means in hyper-parameters; "auto" leaves it to the machine, see `tasks.nodes.arithmetic`.
    weights: by architecture, where the file lies that a network starts from; which file it is, the node says.
    """

    store: str
    data_root: str | None = None
    cache: str | None = None
    download: bool = False
    device: str = "auto"
    threads: int = 1
    checkpoint_epochs: int = 10
    gpu_share: float = 1.0
    compiled: frozenset[str] = frozenset()
    must_compile: bool = False
    precision: Precision = "auto"
    weights: Mapping[str, str] = field(default_factory=dict, hash=False)
    code_revision: str = "unknown"


@dataclass(frozen=True)
class Job:
    """One node to run at one place. memory: the peak that is expected on its GPU, in bytes; inf: not known."""

    node: Node
    place: Place
    memory: float = math.inf


@dataclass(frozen=True)
class Outcome:
    """A node's end: its row, and for a failure its kind and, if a parent's file was corrupt, the parent's key."""

    node: Node
    record: Record
    failure: FailureKind | None = None
    corrupt_parent: str | None = None
