"""What one network knows, handed to another on images that a third makes up: gated knowledge transfer.

Zero-shot transfer (Micaelli and Storkey 2019) with a gate for images of some classes (Chundawat et al. 2023b).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

from core import quant
from core.lazy import F, Tensor, nn, torch

TRUST = 0.0025  # of a quantizer's parameters, a step; as the training loop bounds them
EMPTY_IN_A_ROW = 100  # rounds without an image through the gate after which the generator goes back


class Settings(Protocol):
    """What a transfer needs of a method's hyper-parameters."""

    @property
    def lr(self) -> float:
        """Adam's."""

    @property
    def student_steps(self) -> int:
        """Of a round."""

    @property
    def threshold(self) -> float:
        """Of the gate."""

    @property
    def beta(self) -> float:
        """Weight of the attention maps."""

    @property
    def temperature(self) -> float:
        """Of the answers."""


def attention_map(activation_BCHW: Tensor) -> Tensor:
    """Where a layer is active: mean of the squares over channels, length 1; B x H·W."""
    return F.normalize(activation_BCHW.float().square().mean(1).flatten(1))


def student_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_maps: Sequence[Tensor],
    teacher_maps: Sequence[Tensor],
    beta: float,
) -> Tensor:
    """KL(teacher || student), a batch's mean, plus β Σ over layers of the attention maps' mean squared difference.

    maps: activations BCHW, a layer each.
    """
    apart = [
        (attention_map(s) - attention_map(t)).square().mean()
        for s, t in zip(student_maps, teacher_maps, strict=True)
    ]
    kl = divergence(student_logits, teacher_logits)
    return kl + beta * torch.stack(apart).sum() if apart else kl


def divergence(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL(teacher || student), a batch's mean."""
    log_p, log_q = teacher_logits.float().log_softmax(1), student_logits.float().log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()


def band_pass(teacher_probabilities_NK: Tensor, forgotten: Sequence[int], threshold: float) -> Tensor:
    """True for images that the teacher gives at most the threshold for every forgotten class, bool N."""
    return (teacher_probabilities_NK[:, list(forgotten)] <= threshold).all(1)


class Maps:
    """The activations of a network's last forward pass that attention maps are made of.

    They are the inputs of convolutions, before any quantizer: of each size of feature maps the last one. The first
    convolution's, which are the images, do not count.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self._seen = model, dict[Any, Tensor]()
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        self._handles = [layer.register_forward_pre_hook(self._keep) for layer in layers[1:]]

    def __call__(self, x_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the activations."""
        self._seen.clear()
        logits: Tensor = self.model(x_BCHW)
        return logits, list(self._seen.values())

    def remove(self) -> None:
        """Takes the hooks out of the network."""
        for handle in self._handles:
            handle.remove()

    def _keep(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen[inputs[0].shape[2:]] = inputs[0]


class Transfer:
    """Rounds of generator and student."""

    def __init__(
        self, maker: nn.Module, student: Maps, teacher: Maps, params: Settings, forgotten: list[int]
    ) -> None:
        self.maker, self.student, self.teacher = maker, student, teacher
        self.params, self.forgotten = params, forgotten
        self.make, self.learn = adam(maker, params.lr), adam(student.model, params.lr)
        self.seen = self.passed = self.empty = 0
        self.loss = 0.0
        self.good = copy.deepcopy(maker.state_dict())

    def round(self, z_BN: Tensor) -> None:
        """One step of the generator, away from agreement, and several of the student, towards it; on one noise."""
        for step in range(1 + self.params.student_steps):
            making = step == 0
            with torch.set_grad_enabled(making):
                x = self.maker(z_BN)
            if not self._step(x, making):
                break

    def _step(self, x_BCHW: Tensor, making: bool) -> bool:
        """False if no image passes the gate."""
        with torch.set_grad_enabled(making):
            teacher_BK, teacher_maps = self.teacher(x_BCHW)
        passes_B = band_pass(teacher_BK.detach().softmax(1), self.forgotten, self.params.threshold)
        count = int(passes_B.sum())
        self.seen, self.passed = self.seen + len(passes_B), self.passed + count
        if count < 2:  # normalisation needs two
            self._nothing_passed()
            return False
        self.empty = 0
        with unmoving(self.student.model) if making else nullcontext():
            student_BK, student_maps = self.student(x_BCHW[passes_B])
        t = self.params.temperature
        logits = student_BK / t, teacher_BK[passes_B] / t
        if making:
            descend_(self.make, -divergence(*logits))
            self.good = copy.deepcopy(self.maker.state_dict())
            return True
        maps = [a[passes_B] for a in teacher_maps]
        self.loss = descend_(self.learn, student_loss(*logits, student_maps, maps, self.params.beta))
        quant.keep_valid_(self.student.model)
        return True

    def _nothing_passed(self) -> None:
        self.empty += 1
        if self.empty >= EMPTY_IN_A_ROW:
            self.maker.load_state_dict(self.good)
            self.empty = 0


@contextmanager
def unmoving(model: nn.Module) -> Iterator[None]:
    """In eval mode for a while, so that looking at it moves no running statistic."""
    model.eval()
    try:
        yield
    finally:
        model.train()


def adam(model: nn.Module, lr: float) -> torch.optim.Adam:
    """Adam, whose steps are all about lr long: for a quantizer's parameters that is in proportion to their size."""
    apart = quant.quantizer_parameters(model)
    named = dict(model.named_parameters())
    sizes = {name: float(named[name].detach().abs().mean()) for name in apart}
    groups: list[dict[str, Any]] = [{"params": [p for name, p in named.items() if name not in apart]}]
    groups += [{"params": [named[name]], "lr": min(lr, TRUST * sizes[name])} for name in sorted(apart)]
    return torch.optim.Adam(groups, lr)


def descend_(optimizer: torch.optim.Adam, loss: Tensor, norm: float = 5.0) -> float:
    """One step, on a gradient clipped to the norm; returns the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], norm)
    optimizer.step()
    return float(loss.detach())
