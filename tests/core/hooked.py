"""Problems whose original a method's hook took part in, for any method that has one."""

import copy
from dataclasses import replace

import torch
from toy_problem import PLAIN, seeded

from core.data.loader import concat
from core.train import TrainParams
from core.unlearn.hooks import Training
from core.unlearn.retrain import train_from_scratch

SHORT = TrainParams(epochs=2, lr=0.05, batch_size=24)


def training_of(problem, model, batch_size=24, seed=5):
    """A training on all of the problem's images, the forget set sensitive."""
    images = concat(problem.forget, problem.retain)
    sensitive = torch.arange(len(images)) < len(problem.forget)
    return Training(model, images, PLAIN, problem.classes, batch_size, seed, sensitive)


def hooked(problem, method, params=None):
    """The problem with what the method's hook keeps of a short training; its own model stays as it is."""
    if method.hook is None:
        return problem
    _, part = trained_with(problem, method, params)
    return replace(problem, kept=part.kept())


def trained_with(problem, method, params=None, checkpoints=None, training=SHORT):
    """(model, participant) of a training from scratch in which the method's hook took part."""
    setting = method.hook.setting(params or method.params())
    parts = []

    def take_part(model):
        parts.append(method.hook.start(training_of(problem, model, training.batch_size), setting))
        return parts[-1]

    images = concat(problem.forget, problem.retain)
    model = train_from_scratch(
        copy.deepcopy(problem.model),
        images,
        PLAIN,
        training,
        seeded(1),
        None,
        checkpoints,
        take_part=take_part,
    )
    return model, parts[-1]
