"""A training that is cut off, or told to pause, and taken up again ends bit for bit where it would have ended."""

from dataclasses import replace

import pytest
import torch

from core.errors import BadInput
from core.models import build
from core.train.loop import Callbacks, TrainParams, parameter_groups
from core.train.state import restore_state_
from core.unlearn import METHODS
from core.unlearn.retrain import train_from_scratch
from tests.core.cut_off import CutOff, Memory
from tests.core.toy_problem import (
    AUGMENTING,
    CLASSES,
    FP,
    SHORT,
    W4A4,
    WIDTHS,
    seeded,
    suited,
    toy_images,
    untrained_problem,
)

PARAMS = TrainParams(epochs=5, lr=0.05, batch_size=12)


def train(arch, quant, checkpoints=None):
    """Model, what the epochs said, and the number that the generator would give next."""
    model = build(arch, CLASSES, generator=seeded(), width=WIDTHS[arch], quant=quant)
    generator, said = seeded(7), []
    images = toy_images(36)
    train_from_scratch(
        model,
        images,
        AUGMENTING,
        PARAMS,
        generator,
        lambda *told: said.append(told),
        callbacks=Callbacks(checkpoints),
    )
    return model, said, torch.rand((), generator=generator)


def same(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(("arch", "quant"), [("resnet18", W4A4), ("resnet18", FP), ("mobilenetv2", W4A4)])
def test_a_training_that_was_cut_off_ends_bit_for_bit_the_same(arch, quant):
    whole, said, draw = train(arch, quant)
    cut = Memory(every=2, most=2)
    with pytest.raises(CutOff):
        train(arch, quant, cut)
    assert cut.epochs == [2, 4]
    again = Memory(every=2, state=cut.state)
    resumed, told, next_draw = train(arch, quant, again)
    assert again.epochs == []  # one epoch was left, and its end needs no state
    assert same(resumed, whole)
    assert told == said
    assert next_draw == draw


def test_leaving_states_changes_nothing():
    checkpoints = Memory(every=1)
    watched, said, draw = train("resnet18", W4A4, checkpoints)
    plain, told, next_draw = train("resnet18", W4A4)
    assert checkpoints.epochs == [1, 2, 3, 4]
    assert same(watched, plain)
    assert (said, draw) == (told, next_draw)


ITERATIVE = [name for name, method in METHODS.items() if "epochs" in method.params.model_fields]
# what a method remembers, draws or measures between epochs differs most under these
OPTIONS = {
    "qmul": [{}, {"label_refresh": "epoch"}, {"labels": "random", "weights": "half", "probe": 8}],
    "label_flip": [{"refresh": refresh, "selection": "random"} for refresh in ("step", "epoch", "once")],
    "partial_ascent": [{}, {"refresh": "once", "objective": "min_max"}],
    "unsir": [{"impair": 2}],
    "rfa_lora": [{}, {"target": "pair", "aligned": 3}],
}


@pytest.mark.parametrize("protocol", ["paper", "released"])
@pytest.mark.parametrize(
    ("name", "options"), [(name, options) for name in ITERATIVE for options in OPTIONS.get(name, [{}])]
)
def test_a_method_that_pauses_goes_on_bit_for_bit(name, options, protocol):
    method = METHODS[name]
    problem = suited(untrained_problem(W4A4), method)
    released = method.released if protocol == "released" else {}
    short = {key: value for key, value in SHORT.items() if key in method.params.model_fields}
    params = method.params(**{**short, **released, **options, "epochs": 4, "lr": 0.02, "batch_size": 12})

    def run(checkpoints):
        said = []
        model = method.run(
            replace(problem, callbacks=Callbacks(checkpoints)),
            params,
            seeded(3),
            lambda *told: said.append(told),
        )
        return model, said

    whole, said = run(None)
    paused = Memory(every=99)
    for until in (1, 3):
        paused.until = until
        part, told = run(paused)
        assert told == said[:until]
        assert paused.epochs[-1] == until
        assert not same(part, whole)
    resumed, told = run(Memory(every=99, state=paused.state))
    assert told == said
    assert same(resumed, whole)


@pytest.mark.parametrize("damage", [b"", b"half", "other"])
def test_a_state_that_is_not_of_this_training_is_refused(damage):
    if damage == "other":
        checkpoints = Memory(every=2)
        train("mobilenetv2", W4A4, checkpoints)
        damage = checkpoints.state
    model = build("resnet18", CLASSES, generator=seeded(), width=WIDTHS["resnet18"], quant=W4A4)
    optimizer = torch.optim.SGD(parameter_groups(model, PARAMS), 0.1, 0.9)
    with pytest.raises(BadInput, match="not the state of this training"):
        restore_state_(damage, model, optimizer, seeded())
