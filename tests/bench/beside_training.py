"""What nodes do beside training and predicting: weights and predictions in and out, and the attack."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from core import checkpoint
from core.metrics.mia import svc_mia
from core.metrics.predictions import Predictions, pack
from core.models import build
from core.quant.export import flip_rate, weight_codes
from orchestrator.plan.costs.paces import Device
from tasks.store.files import Files
from tests.bench.confidences import confidences
from tests.bench.measure import side_by_side
from tests.bench.pace_sizes import CLASSES, Timed, clock, named, network

LOADING, COMMITTING = "a network built and its weights loaded", "packed, compared with the original, written"
PREDICTED = 60_000  # images of CIFAR-10


def nodes(arch: str, width: float, device: Device, repeats: int) -> Timed:
    """Loading a network, and committing it with its predictions to a local store."""
    model = network(arch, width, torch.zeros((2, 3, 32, 32), device=device))
    weights, seen = checkpoint.pack(model), _predictions()
    with TemporaryDirectory(prefix="bench-") as folder:
        variants = {
            LOADING: partial(_load, arch, width, device, weights),
            COMMITTING: partial(_commit, model, seen, Files(str(Path(folder)))),
        }
        seconds = side_by_side(variants, repeats)
    case = f"{named(arch, device)}, width {width:g}: what a node does beside"
    return Timed("pace", case, "node", seconds, of_what="node", arch=arch)


def _predictions() -> Predictions:
    random = np.random.default_rng(1)
    labels, predicted = random.integers(0, CLASSES, (2, PREDICTED)).astype(np.int16)
    return Predictions(labels, predicted, random.random(PREDICTED, dtype=np.float32))


def _load(arch: str, width: float, device: Device, weights: bytes) -> None:
    model = build(arch, CLASSES, generator=torch.Generator().manual_seed(0), width=width).to(device)
    model.load_state_dict(checkpoint.unpack(weights))


def _commit(model: nn.Module, seen: Predictions, files: Files) -> None:
    flip_rate(weight_codes(model), weight_codes(model))
    files.put("weights", checkpoint.pack(model))
    files.put("predictions", pack({"train": seen}))


def attacks(samples: tuple[int, ...], repeats: int) -> Timed:
    """The attack with so many retained and as many outside samples, a fifth of them to forget."""
    variants = {
        attack_words(n): partial(svc_mia, *confidences("memorised", n, max(n // 5, 1))) for n in samples
    }
    seconds = side_by_side(variants, repeats, warm_ups=0, clock=clock("cpu"))
    return Timed("pace", "the attack, memorised model, 1 CPU thread", "attack", seconds, of_what="attack")


def attack_words(samples: int) -> str:
    """The attack's variant; `attack_samples` reads it back."""
    return f"{samples:,} + {samples:,} samples"


def attack_samples(variant: str) -> int:
    """How many samples a side a variant of the attack has."""
    return int(variant.partition(" ")[0].replace(",", ""))
