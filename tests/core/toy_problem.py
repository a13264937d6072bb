"""The smallest problem on which every method has something to do, and how to compare models on it."""

import copy
import math
from dataclasses import replace
from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from core.data.loader import Images, Transform, concat
from core.metrics.predictions import predict
from core.models import MODELS, build
from core.quant import QuantSpec, calibrate_
from core.train.loop import Callbacks, TrainParams
from core.unlearn import Problem
from core.unlearn.hooks import Training
from core.unlearn.random_labels import epoch_in_order
from core.unlearn.retrain import train_from_scratch

CLASSES = 4
PLAIN = Transform((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
AUGMENTING = Transform((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), crop_padding=1, flip=True)
WIDTHS = {**dict.fromkeys(MODELS, 0.01), "mobilenetv2": 0.1}  # 8 channels everywhere, or nearly
# what makes a run of any method short, of those hyper-parameters that it has
SHORT = {"epochs": 2, "batch_size": 24, "fisher_samples": 24, "iterations": 3}
SHORT |= {"noise_steps": 3, "noise_images": 4, "copies": 2, "pseudo_batches": 2, "student_steps": 2}
FP = QuantSpec()
W4A4 = QuantSpec(weight_bits=4, activation_bits=4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def toy_images(count, seed=0, size=8, classes=CLASSES):
    """Every class has its own random picture; an image is that picture under noise."""
    pictures = torch.randint(0, 256, (classes, 3, size, size), generator=seeded(99)).float()
    labels = torch.arange(count) % classes
    noise = torch.randn((count, 3, size, size), generator=seeded(seed)) * 60
    return Images((pictures[labels] + noise).clamp(0, 255).to(torch.uint8), labels)


def toy_model(arch="resnet18", quant=None, seed=0, classes=CLASSES):
    """A narrow network, calibrated on toy images, in eval mode."""
    model = build(arch, classes, generator=seeded(seed), width=WIDTHS[arch], quant=quant)
    return calibrate_(model, PLAIN.normalise(toy_images(32).pixels)).eval()


@cache
def memorised_problem(arch):
    """24 images to forget, six of each class, 72 to retain, and a network that knows them; not to be edited."""
    images = toy_images(96)
    model = build(arch, CLASSES, generator=seeded(), width=WIDTHS[arch])
    params = TrainParams(epochs=10, lr=0.05, batch_size=24)
    train_from_scratch(model, images, PLAIN, params, seeded(1))
    assert predict(model, images, PLAIN).accuracy > (95 if arch == "resnet18" else 40)  # chance is 25
    forget, retain = images.select(torch.arange(24)), images.select(torch.arange(24, 96))
    return Problem(model, forget, retain, CLASSES, AUGMENTING, torch.device("cpu"))


def fresh_problem(arch="resnet18"):
    """The same with a model of its own."""
    problem = memorised_problem(arch)
    return replace(problem, model=copy.deepcopy(problem.model))


def suited(problem, method):
    """The problem as a method needs it: a whole class to forget, what its hook keeps of a training."""
    if "random" not in method.scenarios and not problem.lost_classes():
        problem = replace(problem, **parted_by_class(concat(problem.forget, problem.retain), 0))
    if method.hook is None or problem.kept:
        return problem
    model, part = trained_with(problem, method)
    return replace(problem, kept=part.kept(), **({"model": model} if method.hook.build else {}))


HOOKED_TRAINING = TrainParams(epochs=2, lr=0.05, batch_size=24)


def training_of(problem, model, batch_size=24, seed=5):
    """A training on all of the problem's images, the forget set sensitive."""
    images = concat(problem.forget, problem.retain)
    sensitive = torch.arange(len(images)) < len(problem.forget)
    return Training(model, images, PLAIN, problem.classes, batch_size, seed, sensitive)


def trained_with(problem, method, params=None, checkpoints=None):
    """(model, participant) of a training from scratch in which the method's hook took part."""
    images, setting = concat(problem.forget, problem.retain), method.hook.setting(params or method.params())
    model = method.hook.built(copy.deepcopy(problem.model), setting)
    part = method.hook.start(training_of(problem, model), setting)
    callbacks = Callbacks(checkpoints)
    train_from_scratch(model, images, PLAIN, HOOKED_TRAINING, seeded(1), callbacks=callbacks, part=part)
    return model, part


def class_problem(forgotten=0):
    """The same images and network, with one whole class to forget."""
    return replace(fresh_problem(), **parted_by_class(toy_images(96), forgotten))


def two_class_problem(forgotten=0):
    """48 images of two classes, one of them to forget, and a network that knows neither."""
    parts = parted_by_class(toy_images(48, classes=2), forgotten)
    return Problem(toy_model(classes=2), **parts, classes=2, augment=AUGMENTING, device=torch.device("cpu"))


def untrained_problem(quant):
    """16 images to forget, 32 to retain, and a network under any quantization that knows none of them."""
    images = toy_images(48)
    parts = images.select(torch.arange(16)), images.select(torch.arange(16, 48))
    return Problem(toy_model(quant=quant), *parts, CLASSES, AUGMENTING, torch.device("cpu"))


def parted_by_class(images, forgotten):
    chosen = images.labels == forgotten
    return {
        "forget": images.select(chosen.nonzero()[:, 0]),
        "retain": images.select((~chosen).nonzero()[:, 0]),
    }


def linear_problem(forget, retain, std=0.01):
    """A softmax regression on raw pixels, untrained: small enough to write a step out by hand."""
    images = toy_images(forget + retain)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES)).eval()
    nn.init.normal_(model[1].weight, std=std, generator=seeded())
    nn.init.zeros_(model[1].bias)
    parts = images.select(torch.arange(forget)), images.select(torch.arange(forget, forget + retain))
    return Problem(model, *parts, CLASSES, PLAIN, torch.device("cpu"))


class Watch(nn.Module):
    """Logs of every forward pass: train mode, gradients on, input, and the state found."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.log = []

    def forward(self, x):
        self.log.append((self.training, torch.is_grad_enabled(), x.detach().clone(), state_of(self.inner)))
        return self.inner(x)

    def __deepcopy__(self, memo):
        twin = Watch(copy.deepcopy(self.inner, memo))
        twin.log = self.log
        return twin


def record_epochs(monkeypatch, module):
    """A list that takes (forget, retain), with labels and weights, of every epoch that `module` mixes."""
    found = []

    def record(forget, retain, *rest):
        found.append((forget, retain))
        return epoch_in_order(forget, retain, *rest)

    monkeypatch.setattr(f"core.unlearn.{module}.epoch_in_order", record)
    return found


def state_of(model):
    """A copy of the model's whole state."""
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


def differing(a, b):
    """Names of the entries of two states (or models) that are not bit-identical."""
    a, b = (m.state_dict() if isinstance(m, torch.nn.Module) else m for m in (a, b))
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])]


def parameters_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def gradient_of(model, images, labels=None):
    """The gradient of the mean cross-entropy on plain images, one tensor per parameter, in the model's mode."""
    loss = F.cross_entropy(model(PLAIN.normalise(images.pixels)), images.labels if labels is None else labels)
    return torch.autograd.grad(loss, list(model.parameters()))


def length(gradient):
    """The L2 norm of the whole gradient."""
    return math.sqrt(sum(float(g.square().sum()) for g in gradient))


def loss_on(model, images):
    """Mean cross-entropy in eval mode, plain images."""
    with torch.no_grad():
        logits = model.eval()(PLAIN.normalise(images.pixels))
    return float(F.cross_entropy(logits, images.labels))
