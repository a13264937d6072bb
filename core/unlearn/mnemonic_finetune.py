"""Mnemonic code for a network that was trained without it: fine-tune with codes, then forget with them.

As the document does with pretrained networks. Unlike `mnemonic`, this reads the data once more.
"""

from __future__ import annotations

import copy

from core.data import concat
from core.lazy import nn, torch
from core.train import LearningRate, OnEpoch, fit
from core.unlearn.base import CLASS_WISE, Method, Problem, Range, UnlearnParams
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.hooks import Training
from core.unlearn.mnemonic import CODES, Codes, MnemonicParams, forget_with_codes_


class MnemonicFinetuneParams(MnemonicParams, UnlearnParams):
    """The options of both: how the codes are learned, and how they are used."""

    lr: LearningRate = 0.01


def mnemonic_finetune(
    problem: Problem,
    params: MnemonicFinetuneParams,
    generator: torch.Generator,
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """Fine-tunes on forget and retain set mixed with codes, then takes the one step of `mnemonic`."""
    forgotten = problem.whole_classes("Mnemonic fine-tuning")
    model = copy.deepcopy(problem.model)
    seed = int(torch.randint(2**62, (), generator=generator))
    images = concat(problem.forget, problem.retain)
    training = Training(model, images, problem.augment, problem.classes, params.batch_size, seed)
    codes = Codes(training, params.model_dump(include={"t_mix", "code"}))
    fit(
        model,
        lambda epoch: codes.batches(epoch, generator),
        params,
        generator,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
    )
    forget_with_codes_(model, codes.kept()[CODES], forgotten, params)
    return model


METHOD = Method(
    "mnemonic_ft",
    "Mnemonic fine-tuning",
    MnemonicFinetuneParams,
    lambda _arch: {"lambda1": Range(1e-5, 1e-3), "lambda2": Range(1.0, 1e4)},
    mnemonic_finetune,
    released={"code": "uniform", "move_quantizers": True, "decay_quantizers": True},
    scenarios=CLASS_WISE,
)
