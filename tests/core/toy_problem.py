"""The smallest problem on which every method has something to do, and how to compare models on it."""

import torch

from core.data.loader import Images, Transform
from core.metrics.predictions import predict
from core.models import build
from core.quant import QuantSpec, calibrate_
from core.train import TrainParams
from core.unlearn import Problem
from core.unlearn.retrain import train_from_scratch

CLASSES = 4
PLAIN = Transform((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
AUGMENTING = Transform((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), crop_padding=1, flip=True)
WIDTHS = {"resnet18": 0.01, "mobilenetv2": 0.1}  # 8 channels everywhere, or nearly
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


def memorised_problem(arch):
    images = toy_images(96)
    model = build(arch, CLASSES, generator=seeded(), width=WIDTHS[arch])
    params = TrainParams(epochs=10, lr=0.05, batch_size=24)
    train_from_scratch(model, images, PLAIN, params, seeded(1))
    assert predict(model, images, PLAIN).accuracy > (95 if arch == "resnet18" else 40)  # chance is 25
    forget, retain = images.select(torch.arange(24)), images.select(torch.arange(24, 96))
    return Problem(model, forget, retain, CLASSES, AUGMENTING, torch.device("cpu"))


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


def loss_on(model, images):
    """Mean cross-entropy in eval mode, plain images."""
    with torch.no_grad():
        logits = model.eval()(PLAIN.normalise(images.pixels))
    return float(torch.nn.functional.cross_entropy(logits, images.labels))
