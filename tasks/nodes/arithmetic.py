"""In what a training computes, decided once for a store and a kind of machine.

`auto` depends on the processor, and on a measurement that confirms it. So that two workers, or a run and its
continuation, never differ, the first worker of a kind of machine (processor and torch) leaves its decision in the
store, by a write that only one can win, and every worker of that kind reads what is there. What remains to a worker
is to compute in floating point if its own integer operators are wrong, of which it warns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from pydantic import BaseModel, ConfigDict

from core import cpu
from core.lazy import torch
from core.quant import IntegerForward, integer_forward, integer_share, integers_right
from core.seal import sealed, unsealed
from core.train import Chosen, Precision, auto_precision, bfloat16_share, chosen_precision
from tasks.job import Place
from tasks.node import TRAINING, Node
from tasks.nodes import warm
from tasks.store import Store


class Arithmetic(BaseModel):
    """precision: what `auto` means. integers: whether layers compute on codes. Both shares: of time, as measured."""

    model_config = ConfigDict(frozen=True)

    precision: Chosen
    integers: bool
    bfloat16_share: float | None = None
    integer_share: float | None = None


_AS_BEFORE = Arithmetic(precision="float32", integers=False)


@contextmanager
def arithmetic_of(place: Place, store: Store) -> Iterator[IntegerForward]:
    """While active, everything is computed as the place and its machine say."""
    with _computing(_arithmetic(place.precision, warm.device_of(place), store)) as used:
        yield used


@contextmanager
def arithmetic_here(precision: Precision, device: torch.device) -> Iterator[IntegerForward]:
    """As `arithmetic_of`, by what is measured now and for this process alone."""
    with _computing(_arithmetic(precision, device, None)) as used:
        yield used


@contextmanager
def _computing(decided: Arithmetic) -> Iterator[IntegerForward]:
    with auto_precision(decided.precision), integer_forward(decided.integers) as used:
        yield used


def precision_words(place: Place, node: Node, used: IntegerForward) -> str:
    """What a training's steps were computed in, for its row; within `arithmetic_of`."""
    asked = (node.inputs.get("params") or {}).get(
        "precision", "float32"
    )  # IU and the like do not know another
    return chosen_precision(warm.device_of(place), asked) + (", integer forward" if used.used else "")


def _arithmetic(precision: Precision, device: torch.device, store: Store | None) -> Arithmetic:
    if precision == "float32":
        return _AS_BEFORE
    if device.type != "cpu":
        return Arithmetic(precision="bfloat16", integers=False)
    best = _measured() if store is None else _decided(store.address)
    return best if precision == "auto" else best.model_copy(update={"precision": precision})


@lru_cache(maxsize=4)
def _decided(address: str) -> Arithmetic:
    """What the store says of machines of this kind; the first of them to ask decides."""
    store, digest = Store(address), hashlib.sha256(json.dumps(cpu.kind()).encode()).hexdigest()[:16]
    name = f"processors/{digest}.json"
    found = _read(store, name)
    if found is None:
        store.set_aside(name)  # one that cannot be read
        decided = _AS_BEFORE if _begun_before(store) else _measured()
        store.create(name, sealed(decided.model_dump()))
        found = _read(store, name)
    assert found is not None
    return found


def _begun_before(store: Store) -> bool:
    """Whether there are trainings whose rows say nothing of precision: they were in float32, and so is what is left."""
    found = (store.manifests([key], broken={}).get(key) for key in sorted(store.finished()))
    return any(each.record.kind in TRAINING and not each.record.precision for each in found if each)


def _read(store: Store, name: str) -> Arithmetic | None:
    data = store.find(name)
    try:
        return None if data is None else Arithmetic.model_validate(unsealed(data))
    except ValueError:
        return None


def _measured() -> Arithmetic:
    """What this machine does best."""
    share = bfloat16_share()
    precision: Chosen = "bfloat16" if share < 1 else "float32"
    of_integers = integer_share(getattr(torch, precision)) if integers_right() else None
    on = of_integers is not None and of_integers < 1
    return Arithmetic(precision=precision, integers=on, bfloat16_share=share, integer_share=of_integers)
