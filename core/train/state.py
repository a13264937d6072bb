"""The state of a training between two epochs: enough to go on from it bit for bit. Safetensors, never pickles."""

from __future__ import annotations

import json
from typing import Protocol

from safetensors import SafetensorError

from core.errors import BadInput
from core.lazy import Tensor, nn, safetensors, torch

_MODEL, _MOMENTUM, _MEMORY = "model.", "momentum.", "memory."
_DRAWS, _LAYERS, _CUDA, _FACTS = "draws", "layers", "cuda", "facts"


class Checkpoints(Protocol):
    """Where a training leaves its state every few epochs, and finds it again.

    until: the number of epochs after which to pause; None trains to the end.
    """

    every: int
    until: int | None

    def load(self) -> bytes | None:
        """The last whole state that was saved, of no more epochs than `until`, if any."""
        ...

    def save(self, epoch: int, data: bytes) -> None:
        """Keeps the state after so many epochs in the place of earlier ones."""
        ...


class Memory(Protocol):
    """What a method keeps between epochs that does not follow from the generator and the model."""

    def remembered(self) -> dict[str, Tensor]:
        """Tensors by name."""
        ...

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Takes back what `remembered` gave, from the CPU."""
        ...


def pack_state(
    model: nn.Module,
    optimizer: torch.optim.SGD,
    generator: torch.Generator,
    facts: list[dict[str, float]],
    memory: Memory | None = None,
) -> bytes:
    """Model, momentum, both sources of random numbers, what the epochs said so far, and the method's memory."""
    state = {_MODEL + name: t for name, t in model.state_dict().items()}
    if memory is not None:
        state |= {_MEMORY + name: t for name, t in memory.remembered().items()}
    for number, parameter in enumerate(_parameters(optimizer)):
        momentum = optimizer.state[parameter].get("momentum_buffer")
        if momentum is not None:
            state[f"{_MOMENTUM}{number}"] = momentum
    state |= {_DRAWS: generator.get_state(), _LAYERS: torch.get_rng_state()}
    device = next(model.parameters()).device
    if device.type == "cuda":
        state[_CUDA] = torch.cuda.get_rng_state(device)
    state[_FACTS] = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    return safetensors.save({name: t.detach().cpu().contiguous() for name, t in state.items()})


def restore_state_(
    data: bytes,
    model: nn.Module,
    optimizer: torch.optim.SGD,
    generator: torch.Generator,
    memory: Memory | None = None,
) -> list[dict[str, float]]:
    """Puts everything back where `pack_state` took it from; returns the facts of the epochs that are done.

    Raises BadInput if the state is not whole or is that of another training.
    """
    try:
        state = safetensors.load(data)
        facts: list[dict[str, float]] = json.loads(bytes(state[_FACTS].tolist()))
        model.load_state_dict(_below(state, _MODEL))
        momenta = _below(state, _MOMENTUM)
        for number, parameter in enumerate(_parameters(optimizer)):
            if str(number) in momenta:
                optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(
                    momenta[str(number)]
                )
        if memory is not None:
            memory.recall(_below(state, _MEMORY))
        generator.set_state(state[_DRAWS])
        torch.set_rng_state(state[_LAYERS])
        device = next(model.parameters()).device
        if device.type == "cuda" and _CUDA in state:
            torch.cuda.set_rng_state(state[_CUDA], device)
    except (SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise BadInput(f"not the state of this training: {error!r:.200}") from error
    return facts


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _parameters(optimizer: torch.optim.SGD) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
