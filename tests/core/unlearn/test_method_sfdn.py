"""Fisher forgetting (ALGORITHMS 8.8)."""

import pytest
import torch

from core.quant import quantizer_parameters
from core.unlearn.sfdn import RENEWED_VARIANCE, SFDNParams, noise_variance, sfdn
from tests.core.toy_problem import class_problem, differing, linear_problem, loss_on, parameters_of, seeded

SHORT = {"batch_size": 24}


def change(problem, params, seed=0):
    start, end = parameters_of(problem.model), parameters_of(sfdn(problem, params, seeded(seed)))
    return {name: end[name] - start[name] for name in start}


def test_without_noise_nothing_changes(problem):
    assert differing(sfdn(problem, SFDNParams(alpha=0, **SHORT), seeded()), problem.model) == []


def test_the_larger_the_fisher_entry_the_smaller_the_noise():
    fisher = torch.tensor([0.01, 0.1, 1.0, 100.0])
    variance = noise_variance(fisher, SFDNParams(alpha=1e-6), last=False)
    torch.testing.assert_close(variance, 1e-6 / fisher, rtol=1e-5, atol=0)


def test_what_no_image_depends_on_gets_bounded_noise_and_less_in_the_classifier():
    nothing, params = torch.zeros(2, 3), SFDNParams(alpha=1.0, largest=50.0, largest_last=5.0)
    assert noise_variance(nothing, params, last=False).unique().tolist() == [50]
    assert noise_variance(nothing, params, last=True).unique().tolist() == [5]


def test_smoothing_averages_over_input_channels():
    fisher = torch.tensor([[[1.0], [0.5]], [[0.25], [0.5]]])
    found = noise_variance(fisher, SFDNParams(alpha=1.0, smooth=True), last=False)
    torch.testing.assert_close(found.squeeze(2), torch.tensor([[1.5, 1.5], [3.0, 3.0]]), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("shape", "last", "factor"), [((3,), False, 10), ((2, 3), False, 1), ((2, 3), True, 10)]
)
def test_the_boost_is_for_biases_norms_and_the_classifier(shape, last, factor):
    plain, boosted = (noise_variance(torch.ones(shape), SFDNParams(boost=b), last) for b in (1.0, 10.0))
    torch.testing.assert_close(boosted, plain * factor)


def test_the_noise_has_mean_zero_and_the_variance_asked_for():
    problem = linear_problem(8, 16)
    params = SFDNParams(alpha=1e-6, largest=1e9, largest_last=1e9, **SHORT)
    draws = torch.stack([change(problem, params, seed)["1.weight"] for seed in range(200)])
    alike = draws / draws.std(0)
    assert float(alike.mean(0).abs().max()) < 5 / 200**0.5
    assert float(draws.mean()) == pytest.approx(0, abs=5 * float(draws.std()) / draws.numel() ** 0.5)


def test_the_noise_grows_with_the_root_of_alpha(problem):
    one, four = (change(problem, SFDNParams(alpha=a, **SHORT)) for a in (1e-7, 4e-7))
    for name in one:
        torch.testing.assert_close(four[name], 2 * one[name], rtol=1e-2, atol=1e-6)


def test_quantizers_and_statistics_stay_unless_they_are_to_move(problem):
    changed = set(differing(sfdn(problem, SFDNParams(**SHORT), seeded()), problem.model))
    assert changed == set(parameters_of(problem.model)) - quantizer_parameters(problem.model)
    moved = set(differing(sfdn(problem, SFDNParams(move_quantizers=True, **SHORT), seeded()), problem.model))
    assert moved & quantizer_parameters(problem.model)


def test_the_row_of_a_forgotten_class_is_drawn_anew():
    problem = class_problem(2)
    found = sfdn(problem, SFDNParams(alpha=0, **SHORT), seeded())
    assert set(differing(found, problem.model)) == {"classifier.weight", "classifier.bias"}
    others = [0, 1, 3]
    assert torch.equal(found.classifier.weight[others], problem.model.classifier.weight[others])
    quick = SFDNParams(alpha=0, draws=1, batch_size=72)
    rows = [sfdn(problem, quick, seeded(s)).classifier.weight[2] for s in range(20)]
    drawn = torch.stack(rows).detach()
    assert float(drawn.var()) == pytest.approx(RENEWED_VARIANCE, rel=0.5)
    assert float(drawn.mean()) == pytest.approx(0, abs=5 * (RENEWED_VARIANCE / drawn.numel()) ** 0.5)
    kept = sfdn(problem, SFDNParams(alpha=0, renew_rows=False, **SHORT), seeded())
    assert differing(kept, problem.model) == []


def test_a_forgotten_class_suffers_more_than_the_others():
    problem = class_problem()
    found = sfdn(problem, SFDNParams(**SHORT), seeded())
    rises = [loss_on(found, part) - loss_on(problem.model, part) for part in (problem.forget, problem.retain)]
    assert rises[0] > max(3 * rises[1], 0.1)


def test_the_whole_change_is_told(problem):
    told = []
    start = parameters_of(problem.model)
    found = sfdn(problem, SFDNParams(**SHORT), seeded(), lambda _e, facts: told.append(facts))
    squares = sum(float((p - start[name]).square().sum()) for name, p in parameters_of(found).items())
    assert told[0]["noise_norm"] == pytest.approx(squares**0.5, rel=1e-4)
