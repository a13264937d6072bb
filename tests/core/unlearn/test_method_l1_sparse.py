"""l1-sparse (ALGORITHMS 4.5)."""

import pytest
import torch

from core.quant import quantizer_parameters
from core.unlearn import METHODS, UnlearnParams
from core.unlearn.finetune import finetune
from core.unlearn.l1_sparse import L1Params, l1_sparse, penalty_weight
from tests.core.toy_problem import differing, parameters_of, seeded

ONE_STEP = {"epochs": 1, "batch_size": 72, "momentum": 0.0, "weight_decay": 0.0}


def test_the_weight_falls_from_alpha_to_a_tenth_of_it():
    weights = [penalty_weight(3e-5, e, 10) for e in range(10)]
    assert weights == pytest.approx([3e-5 * (10 - e) / 10 for e in range(10)])


def test_the_final_epochs_may_be_without():
    """α_e = α(1 - e/(E - E_0)) for e < E - E_0, else 0."""
    assert [penalty_weight(1.0, e, 10, 6) for e in range(10)] == pytest.approx([1, 0.75, 0.5, 0.25] + [0] * 6)


@pytest.mark.parametrize("without", [10, 12])
def test_without_any_penalised_epoch_the_weight_is_zero(without):
    assert [penalty_weight(1.0, e, 10, without) for e in range(10)] == [0.0] * 10


def test_alpha_zero_is_fine_tuning_bit_for_bit(problem):
    common = {"epochs": 2, "batch_size": 24, "lr": 0.02}
    sparse = l1_sparse(problem, L1Params(alpha=0, **common), seeded())
    assert differing(sparse, finetune(problem, UnlearnParams(**common), seeded())) == []


def test_alpha_zero_is_fine_tuning_as_released_too(problem):
    """Both released methods run in one code base with one optimizer."""
    found = []
    for name, extra in (("l1_sparse", {"alpha": 0.0}), ("ft", {})):
        method = METHODS[name]
        params = method.params(
            epochs=2, batch_size=24, lr=0.02, weight_decay=0.3, **(method.released | extra)
        )
        found.append(method.run(problem, params, seeded(), None))
    assert differing(*found) == []


@pytest.mark.parametrize("penalise_norms", [False, True])
@pytest.mark.parametrize("penalise_quantizers", [False, True])
def test_the_penalty_moves_a_parameter_by_lr_alpha_sign(problem, penalise_quantizers, penalise_norms):
    """The gradient is α_e·sign(θ), 0 at exactly 0; quantizers and normalisation may be spared."""
    with torch.no_grad():
        problem.model.classifier.weight[0, :3] = 0
    lr, alpha = 0.01, 0.05
    common = ONE_STEP | {"lr": lr, "step_trust": None}
    asked = {"penalise_quantizers": penalise_quantizers, "penalise_norms": penalise_norms}
    with_penalty = l1_sparse(problem, L1Params(alpha=alpha, **asked, **common), seeded())
    plain = parameters_of(finetune(problem, UnlearnParams(**common), seeded()))
    spared = set() if penalise_quantizers else quantizer_parameters(problem.model)
    if not penalise_norms:
        norms = [name for name, m in problem.model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert len(norms) == 20
        spared |= {f"{name}.{part}" for name in norms for part in ("weight", "bias")}
    start = parameters_of(problem.model)
    for name, p in with_penalty.named_parameters():
        sign = torch.zeros_like(start[name]) if name in spared else start[name].sign()
        expected = plain[name] - lr * alpha * sign
        assert not name.endswith("step") or float(expected) > 1e-6  # no step is near its floor
        torch.testing.assert_close(p.detach(), expected, rtol=1e-5, atol=1e-7)


def test_the_penalty_shrinks_the_weights(problem):
    common = {"epochs": 3, "batch_size": 24, "lr": 0.02}
    sparse = l1_sparse(problem, L1Params(alpha=1e-2, **common), seeded())
    plain = finetune(problem, UnlearnParams(**common), seeded())
    sizes = [
        sum(float(p.detach().abs().sum()) for p in m.parameters() if p.dim() > 1) for m in (sparse, plain)
    ]
    assert sizes[0] < sizes[1]


def test_only_the_penalised_epochs_differ_from_fine_tuning(problem):
    """With every epoch without penalty, whatever alpha is, nothing is left of it."""
    common = {"epochs": 2, "batch_size": 24}
    sparse = l1_sparse(problem, L1Params(alpha=1.0, final_epochs_without=2, **common), seeded())
    assert differing(sparse, finetune(problem, UnlearnParams(**common), seeded())) == []
