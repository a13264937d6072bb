"""SISA: who is in which shard, how answers are put together, and that forgetting is exact, bit for bit."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch

from core.data import concat
from core.errors import BadInput
from core.models import members
from core.train.loop import fit
from core.unlearn import METHODS
from core.unlearn.shards import SHARD, SLICE, Shards
from core.unlearn.sisa import aggregate, assignment, slice_epochs
from tests.core.toy_problem import (
    HOOKED_TRAINING,
    PLAIN,
    class_problem,
    differing,
    seeded,
    state_of,
    trained_with,
    training_of,
)

SISA = METHODS["sisa"]
TWO = SISA.params(shards=2, slices=2)
EPOCHS = HOOKED_TRAINING.epochs


@cache
def original():
    """The toy's images, dealt out to two shards of two slices, and networks that learned them."""
    problem = class_problem()
    model, part = trained_with(problem, SISA, TWO)
    return replace(problem, model=model, kept=part.kept())


def asked(forgotten):
    """A request to forget the images at these positions of the training."""
    problem = original()
    images, everywhere = concat(problem.forget, problem.retain), torch.arange(96)
    left = everywhere[~torch.isin(everywhere, forgotten)]
    parts = {"forget": images.select(forgotten), "retain": images.select(left)}
    return replace(problem, **parts, positions=(forgotten, left), augment=PLAIN)


def unlearned(problem, facts=None):
    told = None if facts is None else lambda _epoch, found: facts.update(found)
    return SISA.run(problem, TWO, seeded(), told)


def places(shard, slice_):
    kept = original().kept
    return ((kept[SHARD] == shard) & (kept[SLICE] == slice_)).nonzero()[:, 0]


def without(problem):
    """The networks trained from the start with the same table, on the retained images alone."""
    kept, (_, left) = problem.kept, problem.trained_at()
    model = SISA.hook.built(copy.deepcopy(class_problem().model), SISA.hook.setting(TWO))
    table = kept[SHARD][left], kept[SLICE][left]
    params = HOOKED_TRAINING.model_copy(update={"epochs": EPOCHS})
    shards = Shards(model, problem.retain, table, PLAIN, 5, params, 2)
    for shard in range(2):
        shards.prepare(shard)
    optimizers = []

    def passes(epoch):
        if epoch in shards.starts[1:]:
            optimizers[0].state.clear()
        yield from shards.epoch(epoch, {0: 0, 1: 0})

    whole = params.model_copy(update={"epochs": shards.epochs})
    return fit(model, passes, whole, seeded(1), on_optimizer=optimizers.append)


def test_positions_are_dealt_out_in_order_and_the_last_take_the_rest():
    shard_N, slice_N = assignment(11, 3, 2)
    assert shard_N.tolist() == [0] * 3 + [1] * 3 + [2] * 5
    assert slice_N.tolist() == [0, 1, 1] * 2 + [0, 0, 1, 1, 1]
    assert assignment(4, 1, 1)[0].tolist() == assignment(4, 1, 1)[1].tolist() == [0] * 4


def test_epochs_on_slices_cost_what_epochs_without_slices_cost():
    assert slice_epochs(20, 1) == [20]
    assert slice_epochs(15, 4) == [6] * 4
    assert slice_epochs(2, 2) == [1, 1]
    found = slice_epochs(160, 5)
    assert sum(e * (r + 1) / 5 for r, e in enumerate(found)) == pytest.approx(160, abs=1)


def test_answers_are_put_together_by_vote_or_mean():
    p_SNK = torch.tensor([[[0.6, 0.4, 0.0]], [[0.1, 0.9, 0.0]], [[0.5, 0.2, 0.3]]]).clamp(min=1e-9)
    logits = p_SNK.log()
    mean, vote = aggregate(logits, "mean"), aggregate(logits, "vote")
    assert mean.exp()[0].tolist() == pytest.approx([0.4, 0.5, 0.1], abs=1e-6)
    assert vote.exp()[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0], abs=1e-6)
    assert aggregate(logits[:2], "vote").argmax(1).tolist() == [0]  # one vote each: the lower class
    assert torch.isfinite(vote).all()
    assert torch.allclose(mean.softmax(1), mean.exp())  # so that what asks for probabilities gets them


def test_the_whole_takes_both_networks_in_and_answers_with_probabilities():
    problem = original()
    x = PLAIN.normalise(problem.retain.pixels[:5])
    alone = torch.stack([network(x) for network in members(problem.model)])
    assert torch.equal(problem.model(x), aggregate(alone, "vote"))
    assert torch.allclose(problem.model(x).exp().sum(1), torch.ones(5))


@pytest.mark.parametrize(("shard", "slice_"), [(1, 0), (1, 1), (0, 1)])
def test_forgetting_is_exact_and_leaves_other_shards_as_they_are(shard, slice_):
    problem, facts = asked(places(shard, slice_)[:3]), {}
    before, found = state_of(problem.model), unlearned(problem, facts)
    changed = differing(before, found)
    assert changed
    assert all(name.startswith(f"networks.{shard}.") for name in changed)
    assert differing(without(problem), found) == []
    assert (facts["affected_shards"], facts["first_slice"], facts["networks"]) == (1, slice_, 2)
    assert facts["retrained_share"] == pytest.approx(0.5 if slice_ == 0 else 0.25)


def test_forgetting_nothing_changes_nothing():
    problem, facts = asked(torch.arange(0)), {}
    assert differing(unlearned(problem, facts), problem.model) == []
    assert (facts["affected_shards"], facts["first_slice"], facts["retrained_share"]) == (0, 2, 0)


def test_a_shard_of_which_nothing_is_left_has_no_vote():
    forgotten = torch.cat([places(1, 0), places(1, 1)])
    problem = asked(forgotten)
    found = unlearned(problem)
    x = PLAIN.normalise(problem.retain.pixels[:5])
    assert found.voting.tolist() == [True, False]
    assert torch.equal(found(x), aggregate(members(problem.model)[0](x)[None], "vote"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shards": 25}, "shards=25, and class 0 has 24 images: take at most 24 shards"),
        ({"shards": 2, "slices": 49}, "slices=49, and a shard has 48 images: take at most 48 slices"),
    ],
)
def test_more_shards_or_slices_than_there_are_images_are_refused_in_one_line(options, words):
    problem = class_problem()
    with pytest.raises(BadInput, match=words):
        SISA.hook.start(training_of(problem, problem.model), SISA.hook.setting(SISA.params(**options)))
