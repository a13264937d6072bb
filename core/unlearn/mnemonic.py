"""Mnemonic code: forget whole classes in one step, without data (Yamashita, Yamada, Shibata: One-Shot Machine
Unlearning with Mnemonic Code).

The original is trained with one fixed random image per class, its code, which takes an image's place with
probability t_mix (algorithm 1). To forget, every parameter moves by its Fisher ratio on the codes, forgotten
over remaining classes (6), with a step and one of two signs for each layer (algorithm 2). The cost is one
backward pass for each class. Algorithm 2 prints the gradient without its square; (6) and the published code
square it, and so does this.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from core import quant
from core.data import Batch, batches
from core.errors import BadInput, Diverged
from core.lazy import Tensor, nn, no_grad, torch
from core.train import OnEpoch, Params
from core.unlearn.base import CLASS_WISE, Method, Problem, Range
from core.unlearn.fisher import batch_fisher
from core.unlearn.hooks import Hook, Part, Setting, Training, chosen
from core.unlearn.parameters import moved_parameters

CODES = "codes"
Named = Mapping[str, Tensor]  # one tensor per parameter that may move
_FLOOR = 1e-16  # of both Fisher means, as published


class CodeParams(Params):
    """What learning the codes depends on.

    t_mix: probability with which an image's code takes its place. code: distribution of the codes' values, as
    the network sees them (they are not normalised): normal in the paper, uniform on 0 to 1 in its code.
    """

    t_mix: Annotated[float, Field(ge=0, le=1)] = 0.3
    code: Literal["normal", "uniform"] = "normal"


class MnemonicParams(CodeParams):
    """Options. Defaults: the published code's for CIFAR-10.

    lambda1, lambda2: bounds of a layer's step; no parameter moves by more than lambda2.
    move_quantizers: let steps and offsets move too. A step that leaves its place switches off a whole layer.
    """

    lambda1: Annotated[float, Field(ge=0)] = 1e-5
    lambda2: Annotated[float, Field(ge=0)] = 1e4
    move_quantizers: bool = False


class Codes(Part):
    """The codes' part in a training."""

    def __init__(self, training: Training, setting: Setting) -> None:
        super().__init__(training)
        self.t_mix = float(setting["t_mix"])
        own = torch.Generator().manual_seed(training.seed)
        draw = torch.randn if setting["code"] == "normal" else torch.rand
        codes = draw((training.classes, *training.images.pixels.shape[1:]), generator=own)
        device = training.images.pixels.device
        self.codes_KCHW = codes.to(device, memory_format=torch.channels_last)

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """The usual batches, in which some images have made room for the code of their label."""
        training, size = self.training, self.training.batch_size
        coded_N = torch.rand(len(training.images), generator=training.draws(epoch)) < self.t_mix
        coded_N = coded_N.to(self.codes_KCHW.device, non_blocking=True)
        passes = batches(training.images, size, training.augment, generator)
        for number, batch in enumerate(passes):
            coded_B = coded_N[number * size : number * size + len(batch.labels)]
            images = torch.where(coded_B[:, None, None, None], self.codes_KCHW[batch.labels], batch.images)
            yield Batch(images, batch.labels, batch.weights)

    def kept(self) -> dict[str, Tensor]:
        """The codes, one for each class."""
        return {CODES: self.codes_KCHW}


def mnemonic(
    problem: Problem,
    params: MnemonicParams,
    generator: torch.Generator,  # noqa: ARG001  (nothing is drawn)
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """One step from the codes alone; of the forget set only its labels are read.

    BadInput if the forget set is no whole class, or the original was not trained with codes.
    """
    forgotten = problem.whole_classes("Mnemonic")
    if CODES not in problem.kept:
        raise BadInput("mnemonic: this original was not trained with mnemonic codes")
    model = copy.deepcopy(problem.model).eval()
    facts = forget_with_codes_(model, problem.kept[CODES], forgotten, params)
    if on_epoch is not None:
        on_epoch(0, facts)
    return model


def forget_with_codes_(
    model: nn.Module, codes_KCHW: Tensor, forgotten: Sequence[int], params: MnemonicParams
) -> dict[str, float]:
    """Moves the model in place (algorithm 2); returns A_R and E_F on the codes, in percent, and the sign taken."""
    moved = moved_parameters(model, params.move_quantizers)
    gone = torch.zeros(len(codes_KCHW), dtype=torch.bool)
    gone[list(forgotten)] = True
    if not bool((~gone).any()):
        raise BadInput("mnemonic code cannot forget all classes: none remains to compare with")
    sides = (code_fisher(model, moved, codes_KCHW, side.nonzero()[:, 0].tolist()) for side in (gone, ~gone))
    ratios = fisher_ratios(*sides)
    steps = {name: layer_step(eta, params.lambda1, params.lambda2) * eta for name, eta in ratios.items()}
    if not all(bool(step.isfinite().all()) for step in steps.values()):
        raise Diverged("the mnemonic step is not finite")
    return _better_sign_(model, moved, steps, codes_KCHW, gone)


def code_fisher(model: nn.Module, moved: Named, codes_KCHW: Tensor, classes: Sequence[int]) -> Named:
    """Mean over the classes of the squared gradient of the cross-entropy on the class's code: (6), one side."""
    labels_K = torch.arange(len(codes_KCHW), device=codes_KCHW.device)
    single = (Batch(codes_KCHW[k : k + 1], labels_K[k : k + 1], None) for k in classes)
    return dict(zip(moved, batch_fisher(model, list(moved.values()), single), strict=True))


def fisher_ratios(forget: Named, remain: Named) -> Named:
    """η of (6), both sides floored as published; 1 where neither side depends on a parameter."""
    return {name: f.clamp(min=_FLOOR) / remain[name].clamp(min=_FLOOR) for name, f in forget.items()}


def layer_step(eta: Tensor, lambda1: float, lambda2: float) -> Tensor:
    """α of a layer: min(λ1, λ2 / max η), a scalar tensor."""
    return (lambda2 / eta.max()).clamp(max=lambda1)


@no_grad
def _better_sign_(
    model: nn.Module, moved: Named, steps: Named, codes_KCHW: Tensor, gone: Tensor
) -> dict[str, float]:
    """Moves all layers up or down, whichever gives the larger A_R + E_F on the codes; down if equal."""
    before = {name: t.clone() for name, t in model.state_dict().items()}
    scores: dict[int, tuple[float, float]] = {}
    states: dict[int, dict[str, Tensor]] = {}
    for sign in (1, -1):
        model.load_state_dict(before)
        for name, parameter in moved.items():
            parameter.add_(steps[name], alpha=sign)
        quant.keep_valid_(model)
        scores[sign] = code_scores(model, codes_KCHW, gone)
        states[sign] = {name: t.clone() for name, t in model.state_dict().items()}
    sign = 1 if sum(scores[1]) > sum(scores[-1]) else -1
    model.load_state_dict(states[sign])
    return {"code_ar": scores[sign][0], "code_ef": scores[sign][1], "sign": float(sign)}


def code_scores(model: nn.Module, codes_KCHW: Tensor, gone: Tensor) -> tuple[float, float]:
    """A_R and E_F on the codes, in percent: right on remaining classes, wrong on forgotten ones."""
    right = (model(codes_KCHW).argmax(1).cpu() == torch.arange(len(codes_KCHW))).double()
    return 100 * float(right[~gone].mean()), 100 * float(1 - right[gone].mean())


METHOD = Method(
    "mnemonic",
    "Mnemonic",
    MnemonicParams,
    # from the smallest to the largest published, over the document's four data sets
    lambda _arch: {"lambda1": Range(1e-5, 1e-3), "lambda2": Range(1.0, 1e4)},
    mnemonic,
    released={"code": "uniform", "move_quantizers": True},
    scenarios=CLASS_WISE,
    hook=Hook(chosen("t_mix", "code"), Codes),
    passes=lambda _p, _forget, _retain: 100.0,  # a pass over one code for each class, and two over all
)
