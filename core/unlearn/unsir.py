"""UNSIR: impair with noise that the forgotten class's loss hates most, then repair (Tarun et al. 2023, FastMU).

For every class to forget, images of pure noise are moved to where the original's loss for that class is largest.
Trained on together with a sample of the retained data, under that class as their label, they overwrite what the network
knew of it; training on the sample alone then repairs the rest. Of what is to be forgotten only the class is read, so it
has to be a whole one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from core.data import Batch, Images, Transform, batches
from core.lazy import F, nn, torch
from core.train import LearningRate, OnEpoch, Positive, fit
from core.unlearn.base import CLASS_WISE, Method, Problem, UnlearnParams, lr_range
from core.unlearn.gradient_norms import gradient_probe

NOISE_LR = 0.1  # Adam's, on pixels


class UnsirParams(UnlearnParams):
    """Options beside the loop's; the numbers are the published ones.

    epochs: impairing and repairing together. The cosine gives the two of them the rates lr and lr/2, as
    published (0.02 and 0.01, with Adam; the loop here is SGD).
    impair: how many of the epochs, the first ones, train with noise.
    noise_steps: steps on the noise. noise_penalty: weight of its squared norm.
    noise_images: of each class to forget. copies: how often each stands in an epoch.
    retained: images of each retained class in the sample, the first ones; fewer if there are fewer.

    In the published notebook a loop runs over an image's channels, so that of 256 noise images three are trained
    on (released), and they are labelled class 0 whatever is forgotten (not here).
    """

    epochs: Positive = 2
    lr: LearningRate = 0.02
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    impair: Annotated[int, Field(ge=0)] = 1
    noise_steps: Annotated[int, Field(ge=0)] = 40
    noise_penalty: Annotated[float, Field(ge=0)] = 0.1
    noise_images: Positive = 256
    copies: Positive = 20
    retained: Positive = 1000


def unsir(
    problem: Problem, params: UnsirParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Impairs, then repairs. Raises BadInput if images of a class to forget are retained."""
    lost = problem.whole_classes("UNSIR")
    seed = int(torch.randint(2**62, (), generator=generator))
    key = ("unsir", params.noise_steps, params.noise_penalty, params.noise_images, seed)
    noise = problem.once(key, lambda: maximal_noise(problem, params, lost, seed))
    sample = first_of_each_class(problem.retain, problem.classes, params.retained)
    model = copy.deepcopy(problem.model)

    def epochs(epoch: int) -> Iterator[Batch]:
        if epoch < params.impair:
            return mixed_batches(noise, params.copies, sample, params.batch_size, problem.augment, generator)
        return batches(sample, params.batch_size, problem.augment, generator)

    return fit(
        model,
        epochs,
        params,
        generator,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
    )


def maximal_noise(problem: Problem, params: UnsirParams, classes: list[int], seed: int) -> Batch:
    """Noise on the scale of normalised images, with its class as the label; the model is in eval mode and stays.

    Minimises -CE + penalty · mean |x|² by Adam, from normal numbers.
    """
    model = copy.deepcopy(problem.model).eval().requires_grad_(False)
    generator, device = torch.Generator().manual_seed(seed), problem.device
    count, shape = len(classes) * params.noise_images, problem.retain.pixels.shape[1:]
    noise = torch.randn((count, *shape), generator=generator).to(device).requires_grad_()
    labels = torch.tensor(classes, device=device).repeat_interleave(params.noise_images)
    adam = torch.optim.Adam([noise], NOISE_LR)
    for _ in range(params.noise_steps):
        penalty = params.noise_penalty * noise.square().flatten(1).sum(1).mean()
        noise.grad = torch.autograd.grad(penalty - F.cross_entropy(model(noise), labels), noise)[0]
        adam.step()
    return Batch(noise.detach(), labels, None)


def first_of_each_class(images: Images, classes: int, count: int) -> Images:
    """The first `count` images of every class, in the order they had."""
    own_NK = F.one_hot(images.labels, classes)
    earlier_N = (own_NK.cumsum(0) * own_NK).sum(1)
    return images.select((earlier_N <= count).nonzero()[:, 0])


def mixed_batches(
    noise: Batch, copies: int, images: Images, size: int, transform: Transform, generator: torch.Generator
) -> Iterator[Batch]:
    """One shuffled pass over copies of the noise, taken as it is, and images, augmented as always."""
    kinds, device = len(noise.labels), images.pixels.device
    order = torch.randperm(
        copies * kinds + len(images), generator=generator
    )  # stays on the CPU, which parts it
    draws_N3 = transform.draw(len(images), generator, device)
    for start in range(0, len(order), size):
        index = order[start : start + size]
        chosen = (index[index >= copies * kinds] - copies * kinds).to(device)
        own = (index[index < copies * kinds] % kinds).to(device)
        part = images.select(chosen)
        seen = transform.normalise(transform.augment(part.pixels, draws_N3[chosen]))
        pixels = torch.cat([noise.images[own], seen]).to(memory_format=torch.channels_last)
        yield Batch(pixels, torch.cat([noise.labels[own], part.labels]), None)


# The source gives one setting and no range: FT's learning rates, which hold its 0.02.
METHOD = Method(
    "unsir",
    "UNSIR",
    UnsirParams,
    lr_range(1e-3, 1e-1),
    unsir,
    released={"noise_images": 3, "decay_quantizers": True},
    scenarios=CLASS_WISE,
)
