"""What an epoch of each method costs beside an epoch of plain training."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from core.data.loader import Images, Transform, batches, concat
from core.models import MODELS
from core.train.loop import TrainParams, fit
from core.unlearn import METHODS, Method, Problem
from core.unlearn.hooks import Training
from core.unlearn.retrain import train_from_scratch
from orchestrator.plan.costs.paces import Device
from orchestrator.spec import titles
from tests.bench.loading import MEAN, STD
from tests.bench.measure import Comparison, Effort, side_by_side
from tests.bench.pace_sizes import CLASSES, NETWORKS, clock, named, network
from tests.bench.surroundings import as_in_a_node

PLAIN = "plain epoch"
AS_TRAINED = ("sisa", "arcane")  # which train as long again as their original did, at its pace
PARTS = 10  # batches; one of them is the forget set


@dataclass(frozen=True)
class Case:
    """A network and its images: nine batches to retain, one to forget."""

    arch: str
    width: float
    batch: int
    device: Device = "cpu"
    pixels: int = 32

    @property
    def forget(self) -> int:
        """Images to forget: 10 %."""
        return self.batch

    @property
    def retain(self) -> int:
        """Images to retain."""
        return (PARTS - 1) * self.batch


@dataclass(frozen=True)
class Epochs(Comparison):
    """Methods' epochs beside a plain one. methods: their names by variant."""

    of: Case | None = None
    methods: dict[str, str] | None = None


def method_epoch(effort: Effort) -> list[Comparison]:
    """One epoch of every method, and everything that it does once before it, beside one of plain training.

    10 % of the images are to forget, one batch of ten: an epoch of GA goes over that batch alone, the plain
    epoch, Retrain and FT over the nine others, RL and its kin over all ten, Q-MUL twice. SalUn's mask, the
    similar labels and the networks' copies are in the times; nothing is shared between trials. IU has no epochs:
    it is a whole run, with one batch behind its Fisher matrix. Every method of the registry is measured but those that
    repeat their original's training, each network at its paper's quantization; on a CPU in seconds of its time, which
    other work beside hardly changes.
    """
    with as_in_a_node():
        return [_compared(case, min(effort.repeats, 5), int(not effort.tiny)) for case in cases(effort)]


def cases(effort: Effort) -> list[Case]:
    """Both networks at sizes that a machine does in a minute or two."""
    if effort.tiny:
        return [Case("resnet18", 0.05, 2, pixels=16)]
    if torch.cuda.is_available():
        return [Case(arch, MODELS[arch].width, 256, "cuda") for arch in NETWORKS]
    return [Case(arch, MODELS[arch].width / 4, 32) for arch in NETWORKS]


def _compared(case: Case, repeats: int, warm_ups: int) -> Epochs:
    problem = problem_of(case)
    variants = {PLAIN: lambda: _plain(problem, case.batch)}
    methods = {titles.title(name): name for name in METHODS if name not in AS_TRAINED}
    for title, name in methods.items():
        method = METHODS[name]
        suited = problem if "random" in method.scenarios else _by_class(problem)
        variants[title] = _run(method, _hooked(suited, method, case.batch), case)
    text = (
        f"{named(case.arch, case.device)}, width {case.width:g}, {case.pixels} px, {case.forget} images to forget, "
        f"{case.retain:,} to retain, batch {case.batch}"
    )
    seconds = side_by_side(variants, repeats, warm_ups=warm_ups, clock=clock(case.device))
    return Epochs("method_epoch", text, "epoch", seconds, baseline=PLAIN, of=case, methods=methods)


def problem_of(case: Case) -> Problem:
    """Noise to learn by heart, and a network that has begun to."""
    generator = torch.Generator().manual_seed(1)
    count, device = case.forget + case.retain, torch.device(case.device)
    pixels = torch.randint(256, (count, 3, case.pixels, case.pixels), dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.arange(count) % CLASSES).to(device)
    transform = Transform(MEAN, STD, crop_padding=case.pixels // 8, flip=True)
    model = network(case.arch, case.width, transform.normalise(images.pixels[: case.batch]))
    forget, retain = images.select(torch.arange(case.forget)), images.select(torch.arange(case.forget, count))
    problem = Problem(model.eval(), forget, retain, CLASSES, transform, device)
    _train(model, problem, case.batch)
    return problem


def _by_class(problem: Problem) -> Problem:
    """As many images of either set, those to forget under a label that no other has."""
    forget, retain = problem.forget, problem.retain
    others = retain.relabelled(1 + retain.labels % (CLASSES - 1))
    return replace(problem, forget=forget.relabelled(torch.zeros_like(forget.labels)), retain=others)


def _hooked(problem: Problem, method: Method, batch: int) -> Problem:
    """The problem with the original that a method's part in an epoch of training made, and what it keeps."""
    if method.hook is None:
        return problem
    setting, images = method.hook.setting(method.params()), concat(problem.forget, problem.retain)
    model = method.hook.built(copy.deepcopy(problem.model), setting)
    sensitive = torch.arange(len(images)) < len(problem.forget)
    params, generator = TrainParams(epochs=1, lr=1e-3, batch_size=batch), torch.Generator().manual_seed(4)
    training = Training(model, images, problem.augment, problem.classes, batch, 0, sensitive)
    part = method.hook.start(training, setting)
    train_from_scratch(model, images, problem.augment, params, generator, part=part)
    return replace(problem, model=model, kept=part.kept())


def _plain(problem: Problem, batch: int) -> None:
    _train(copy.deepcopy(problem.model), problem, batch)


def _train(model: nn.Module, problem: Problem, batch: int) -> None:
    generator = torch.Generator().manual_seed(3)
    fit(
        model,
        lambda _epoch: batches(problem.retain, batch, problem.augment, generator),
        TrainParams(epochs=1, lr=1e-3, batch_size=batch),
        generator,
    )
    _wait(problem)


def settings(method: Method, case: Case) -> dict[str, float]:
    """What makes one short epoch of a method, of those hyper-parameters that it has."""
    wanted = {"epochs": 1, "lr": 1e-3, "batch_size": case.batch, "fisher_samples": case.batch}
    wanted |= {"pseudo_batches": 1, "noise_images": case.batch}
    return {name: value for name, value in wanted.items() if name in method.params.model_fields}


def _run(method: Method, problem: Problem, case: Case) -> Callable[[], None]:
    params = method.params(**settings(method, case))

    def epoch() -> None:
        method.run(problem, params, torch.Generator().manual_seed(4))
        _wait(problem)

    return epoch


def _wait(problem: Problem) -> None:
    if problem.device.type == "cuda":
        torch.cuda.synchronize()
