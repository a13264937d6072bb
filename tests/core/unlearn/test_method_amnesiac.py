"""Amnesiac unlearning, whole and partial (ALGORITHMS 7.3-7.4): what is recorded, and what taking it back does."""

import math
from dataclasses import replace

import pytest
import torch

from core.data.loader import concat
from core.errors import Diverged
from core.metrics.predictions import predict
from core.models import build
from core.quant import QuantSpec, quantizer_parameters
from core.train.loop import TrainParams, fit
from core.unlearn import METHODS
from core.unlearn.amnesiac import COUNTS, ENTRY_BYTES, SUM, AmnesiacParams, kept_entries, subtract_
from core.unlearn.gathered import gathered
from tests.core.toy_problem import (
    CLASSES,
    PLAIN,
    class_problem,
    differing,
    fresh_problem,
    parameters_of,
    seeded,
    suited,
    trained_with,
    training_of,
)

AMNESIAC = METHODS["amnesiac"]


def setting(**options):
    return AMNESIAC.hook.setting(AmnesiacParams(**options))


def recorded(problem, epochs=2, batch_size=24, momentum=0.0, **options):
    """(model, participant) of a recorded training with plain SGD on all of the problem's images."""
    params = TrainParams(
        epochs=epochs, lr=0.02, batch_size=batch_size, momentum=momentum, weight_decay=0.0, step_trust=None
    )
    model = build("resnet18", CLASSES, generator=seeded(), width=0.01, quant=QuantSpec())
    part = AMNESIAC.hook.start(training_of(problem, model, batch_size), setting(**options))
    generator = seeded(3)
    fit(
        model,
        lambda epoch: part.batches(epoch, generator),
        params,
        generator,
        on_update=part.on_update,
        memory=part,
    )
    return model, part


def test_taking_back_the_last_step_restores_the_network():
    """Plain SGD, one affected batch, and it is the last."""
    problem = fresh_problem()
    model = build("resnet18", CLASSES, generator=seeded(), width=0.01, quant=QuantSpec())
    training = training_of(problem, model)
    part = AMNESIAC.hook.start(training, setting())
    params = TrainParams(epochs=1, lr=0.02, momentum=0.0, step_trust=None)
    before = {}

    def last_is_affected(epoch):
        passes = list(part.batches(epoch, seeded(3)))  # all noted: only the last one's note is left
        part._before = None
        yield passes[0]
        before.update(parameters_of(model))
        part._before = [p.detach().clone() for p in part.moved.values()]
        yield passes[1]

    fit(model, last_is_affected, params, seeded(), on_update=part.on_update)
    subtract_(model, part.kept())
    for name, parameter in parameters_of(model).items():
        assert torch.allclose(parameter, before[name], atol=1e-7), name


def test_the_sum_is_what_the_updates_of_affected_batches_were():
    """Every batch affected: the records are the whole way from the start."""
    problem = fresh_problem()
    start = parameters_of(build("resnet18", CLASSES, generator=seeded(), width=0.01, quant=QuantSpec()))
    everything = replace(problem, retain=problem.retain.select(torch.arange(0)))
    model, part = recorded(everything, momentum=0.9)
    for name, parameter in parameters_of(model).items():
        total = part.kept()[SUM + name].view(parameter.shape)
        assert torch.allclose(parameter - total, start[name], atol=1e-5), name


@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_batches_kept_one_by_one_sum_to_the_same(fraction):
    models = []
    for storage in ("sum", "batches"):
        model, part = recorded(fresh_problem(), fraction=fraction, storage=storage)
        subtract_(model, part.kept())
        models.append(parameters_of(model))
    assert all(torch.allclose(models[0][name], models[1][name], atol=1e-6) for name in models[0])


def test_nothing_recorded_nothing_undone():
    problem = fresh_problem()
    nothing = replace(
        problem, forget=problem.forget.select(torch.arange(0)), retain=concat(problem.forget, problem.retain)
    )
    for options in ({}, {"storage": "batches"}):
        model, part = recorded(nothing, **options)
        before = parameters_of(model)
        assert subtract_(model, part.kept()) == 0
        assert differing(before, parameters_of(model)) == []
        assert part.kept()[COUNTS].tolist()[1:] == [0, 0]


def test_a_share_of_zero_undoes_nothing():
    model, part = recorded(fresh_problem(), fraction=0.0)
    before = parameters_of(model)
    subtract_(model, part.kept())
    assert differing(before, parameters_of(model)) == []


@pytest.mark.parametrize("selection", ["topk", "random"])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5, 1.0])
def test_every_layer_keeps_its_share_of_entries(fraction, selection):
    _, part = recorded(fresh_problem(), epochs=1, fraction=fraction, selection=selection, storage="batches")
    total, affected, entries = part.kept()[COUNTS].tolist()
    assert entries == affected * sum(math.ceil(fraction * p.numel()) for p in part.moved.values())
    assert 0 < affected <= total
    kept = part.kept()
    stored = sum(kept[key].nbytes for key in kept if key.startswith(("index.", "value.")))
    assert stored == ENTRY_BYTES * entries


def test_the_largest_changes_of_a_layer_are_kept():
    change = torch.tensor([0.1, -3.0, 0.5, 2.0, -0.2])
    assert set(kept_entries(change, 0.4, "topk", seeded()).tolist()) == {1, 3}
    assert set(kept_entries(change, 0.41, "topk", seeded()).tolist()) == {1, 2, 3}
    assert len(kept_entries(change, 0.4, "random", seeded())) == 2
    assert kept_entries(change, 0.0, "topk", seeded()).numel() == 0


def test_the_network_moves_further_the_more_is_kept():
    norms = []
    for fraction in (0.01, 0.1, 0.5, 1.0):
        model, part = recorded(fresh_problem(), epochs=1, fraction=fraction)
        norms.append(subtract_(model, part.kept()))
    assert norms == sorted(norms)
    assert norms[0] > 0


def test_quantizers_stay_unless_asked():
    for options, stay in (({}, True), ({"record_quantizers": True}, False)):
        _, part = trained_with(class_problem(), AMNESIAC, AmnesiacParams(**options))
        steps = quantizer_parameters(part.training.model)
        assert steps
        assert (not steps & part.moved.keys()) is stay


def test_a_record_that_is_not_finite_ends_the_trial():
    problem = suited(class_problem(), AMNESIAC)
    kept = dict(problem.kept)
    name = next(key for key in kept if key.startswith(SUM))
    kept[name] = torch.full_like(kept[name], float("nan"))
    with pytest.raises(Diverged, match="not finite"):
        AMNESIAC.run(replace(problem, kept=kept), AmnesiacParams(), seeded(), None)


def test_the_share_of_affected_batches_is_told():
    problem = suited(class_problem(), AMNESIAC)
    told = []
    AMNESIAC.run(problem, AmnesiacParams(tune_epochs=2), seeded(), lambda *fact: told.append(fact))
    total, affected, entries = problem.kept[COUNTS].tolist()
    assert told[0][1]["affected_share"] == affected / total
    assert told[0][1]["recorded_entries"] == entries
    assert told[0][1]["recorded_bytes"] == 8 * entries  # int32 and float32
    assert [epoch for epoch, _ in told] == [0, 1, 2]


def test_fine_tuning_afterwards_brings_the_retain_set_back():
    problem = class_problem(1)
    model, part = trained_with(problem, AMNESIAC)
    problem = replace(problem, model=model, kept=part.kept())
    undone = AMNESIAC.run(problem, AmnesiacParams(), seeded(), None)
    tuned = AMNESIAC.run(problem, AmnesiacParams(tune_epochs=4, tune_lr=0.05, batch_size=24), seeded(), None)
    before, after = (predict(m, problem.retain, PLAIN).accuracy for m in (undone, tuned))
    assert after > before


# --- which batches are affected


def share_affected(order, sensitive, size):
    parts = order.split(size)
    return sum(bool(sensitive[part].any()) for part in parts) / len(parts)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize(("count", "size"), [(200, 10), (203, 10), (64, 16)])
def test_gathered_images_lie_in_about_the_asked_share_of_batches(share, count, size):
    sensitive = torch.arange(count) % 10 == 3
    order = torch.randperm(count, generator=seeded())
    found = gathered(order, sensitive, size, share, seeded(1))
    assert sorted(found.tolist()) == list(range(count))
    batches = math.ceil(count / size)
    wanted = max(math.ceil(share * batches), math.ceil(int(sensitive.sum()) / size)) / batches
    assert share_affected(found, sensitive, size) <= wanted + 1.5 / batches
    assert share_affected(found, sensitive, size) >= min(wanted, int(sensitive.sum()) / batches) - 1e-9
    kept = found[~sensitive[found]]
    assert torch.equal(kept, order[~sensitive[order]])


def test_without_gathering_nearly_every_large_batch_is_affected():
    """1 - (1 - q)^B at q = 0.1 and B = 64 is 0.9988."""
    sensitive = torch.rand(64_000, generator=seeded()) < 0.1
    order = torch.randperm(64_000, generator=seeded(1))
    assert share_affected(order, sensitive, 64) == pytest.approx(1 - 0.9**64, abs=0.005)
