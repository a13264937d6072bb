"""`ATTACKS`: what an audit measures. An attack gives samples, and each of its scores is a function of them.

Where an attack compares unlearned with retrained models, the unlearned ones are those that an image was inside of, and
the retrained ones the others of the pairs: Retrain against Retrain then compares as many, and no model with itself.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from core.errors import BadInput, unknown
from core.metrics import forgetting_quality
from core.metrics.audit.evidence import Evidence, Figures, halves
from core.metrics.distances import tug_of_war, tug_of_war_mia
from core.metrics.klom import klom
from core.metrics.lira import offline, online, u_lira
from core.metrics.nomus import attack_accuracy, nomus
from core.metrics.population import population
from core.metrics.rmia import rmia
from core.metrics.roc import auc, counted, share_found, tpr_at

Samples = tuple[np.ndarray, ...]
_TARGETS = 16  # models that LiRA attacks, at most
_MANY = 64  # models from which on each image has a deviation of its own (Carlini et al. 2022)


@dataclass(frozen=True)
class Score:
    """One figure of an attack. value: of its samples. about: a sentence, with the value that leaves no trace."""

    value: Callable[..., float]
    title: str
    unit: str = ""
    digits: int = 2
    about: str = ""


@dataclass(frozen=True)
class Attack:
    """samples: of evidence, each a vector, of images or models. scores: by column. least: models that it needs.

    roc: the samples are scores of members and of others, and have a ROC curve.
    """

    title: str
    samples: Callable[[Evidence], Samples]
    scores: Mapping[str, Score]
    least: int = 2
    roc: bool = False


def _u_lira(evidence: Evidence) -> Samples:
    return (100 * u_lira(*halves(evidence.subject.forget, evidence.retrain.forget, evidence.inside)),)


def _lira(evidence: Evidence) -> Samples:
    """The first unlearned models, each by all others of its kind but the one that it makes a pair with."""
    margins, scores = evidence.subject.forget, []
    inside = evidence.inside
    for model in range(min(_TARGETS, evidence.models)):
        others = np.flatnonzero(np.arange(evidence.models) // 2 != model // 2)
        known = halves(margins[others], margins[others], inside[others])
        scores.append(online(margins[model], *known, fixed_variance=len(known.out) < _MANY))
    found = np.array(scores)
    return found[inside[: len(found)]], found[~inside[: len(found)]]


def _offline(evidence: Evidence) -> Samples:
    """The model itself, by the Retrains of the others: forgotten against test images."""
    target, others = evidence.subject, evidence.retrain
    return (
        offline(target.forget[0], others.forget[1:]),
        offline(target.test[0], others.test[1:]),
    )


def _rmia(evidence: Evidence) -> Samples:
    """The model itself, with every second test image for a population and the others for non-members."""
    target, others = evidence.subject, evidence.retrain
    known = _probability(target.test[0, 0::2]), _probability(others.test[1:, 0::2])
    members, unseen = (
        rmia(_probability(own[0]), _probability(theirs[1:]), *known)
        for own, theirs in (
            (target.forget, others.forget),
            (target.test[:, 1::2], others.test[:, 1::2]),
        )
    )
    return members, unseen


def _population(evidence: Evidence) -> Samples:
    own = evidence.subject
    known = own.test[0, 0::2]
    return population(own.forget[0], known), population(own.test[0, 1::2], known)


def _klom(evidence: Evidence) -> Samples:
    subject, retrain = evidence.subject, evidence.retrain
    return (
        klom(*halves(subject.forget, retrain.forget, evidence.inside)),
        klom(subject.retain[0::2], retrain.retain[1::2]),
        klom(subject.test[0::2], retrain.test[1::2]),
    )


def _quality(evidence: Evidence) -> Samples:
    """ε of each image, and each model's share of the accuracies that its pair's Retrain has."""
    found = forgetting_quality.epsilons(
        *halves(evidence.subject.forget, evidence.retrain.forget, evidence.inside)
    )
    kept = [
        forgetting_quality.final(1.0, (own["ra"], theirs["ra"]), (own["ta"], theirs["ta"]))
        for own, theirs in _pairs(evidence)
    ]
    return found, np.array(kept)


def _tug_of_war(evidence: Evidence) -> Samples:
    pairs = _pairs(evidence)
    return np.array([tug_of_war(*pair) for pair in pairs]), np.array(
        [tug_of_war_mia(*pair) for pair in pairs]
    )


def _nomus(evidence: Evidence) -> Samples:
    own = evidence.subject
    attacked = attack_accuracy(_loss(own.forget[0]), _loss(own.test[0]))
    return (np.array([nomus(own.figures[0]["ta"] / 100, attacked)]),)


def _pairs(evidence: Evidence) -> list[tuple[Figures, Figures]]:
    """Each model's figures with those of the Retrain of the other of its pair."""
    theirs = evidence.retrain.figures
    return [(own, theirs[model ^ 1]) for model, own in enumerate(evidence.subject.figures)]


def _probability(margin: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(margin, np.float64)))


def _loss(margin: np.ndarray) -> np.ndarray:
    """-log p of the true label, from the margin."""
    return np.logaddexp(0, -np.asarray(margin, np.float64))


def _mean(sample: np.ndarray) -> float:
    return float(sample.mean())


def _largest_of_20(sample: np.ndarray) -> float:
    return float(np.quantile(sample, 0.95))


def _area(members: np.ndarray, others: np.ndarray) -> float:
    return 100 * auc(*_labelled(members, others))


def _found_at(fpr: float) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda members, others: 100 * tpr_at(*_labelled(members, others), fpr)


def _labelled(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    side = np.repeat([True, False], [len(members), len(others)])
    return np.concatenate([members, others]), side


def _of(position: int, value: Callable[[np.ndarray], float]) -> Callable[..., float]:
    return lambda *samples: value(samples[position])


def _roc_scores(name: str, title: str, what: str) -> dict[str, Score]:
    about = f"{title}: {what}; AUC 50: no trace."
    return {
        f"{name}_auc": Score(_area, f"{title}, AUC", "%", about=about),
        f"{name}_tpr_1": Score(_found_at(0.01), f"{title}, TPR at 1 % FPR", "%"),
        f"{name}_tpr_01": Score(_found_at(0.001), f"{title}, TPR at 0.1 % FPR", "%"),
    }


ATTACKS: dict[str, Attack] = {
    "u_lira": Attack(
        "U-LiRA", _u_lira,
        {
            "u_lira": Score(
                _of(0, _mean), "U-LiRA", "%",
                about="U-LiRA: how often an image's margin tells unlearned from retrained models; 50: a coin.",
            ),
            "u_lira_95": Score(_of(0, _largest_of_20), "U-LiRA, 95 % quantile", "%"),
        },
        least=6,
    ),
    "lira": Attack(
        "LiRA", _lira,
        _roc_scores("lira", "LiRA", "forgotten images against images that the unlearned model never saw"),
        least=6, roc=True,
    ),
    "lira_offline": Attack(
        "Offline LiRA", _offline,
        _roc_scores("lira_offline", "Offline LiRA", "forgotten against test images, by what Retrains give them"),
        least=4, roc=True,
    ),
    "rmia": Attack(
        "RMIA", _rmia, _roc_scores("rmia", "RMIA", "forgotten against test images, each against a population"),
        least=4, roc=True,
    ),
    "population": Attack(
        "Population attack", _population,
        {"population_auc": Score(
            _area, "Population attack, AUC", "%",
            about="Population attack: one threshold for all images; AUC 50: no trace.",
        )},
        roc=True,
    ),
    "klom": Attack(
        "KLoM", _klom,
        {
            "klom_forget": Score(
                _of(0, _mean), "KLoM, forget", digits=3,
                about="KLoM: divergence of an image's margins from those of retrained models, in nats.",
            ),
            "klom_forget_95": Score(_of(0, _largest_of_20), "KLoM, forget, 95 % quantile", digits=3),
            "klom_retain": Score(_of(1, _mean), "KLoM, retain", digits=3),
            "klom_test": Score(_of(2, _mean), "KLoM, test", digits=3),
        },
    ),
    "quality": Attack(
        "Forgetting quality", _quality,
        {
            "quality": Score(
                _of(0, forgetting_quality.score), "F", digits=4,
                about="F: forgetting quality of the NeurIPS 2023 challenge, at most 1; its floor is what Retrain gets.",
            ),
            "quality_final": Score(
                lambda found, kept: forgetting_quality.score(found) * _mean(kept), "Final score", digits=4,
                about="Final score: F times the shares of Retrain's RA and TA that are kept.",
            ),
        },
        least=4,
    ),
    "tug_of_war": Attack(
        "Tug of war", _tug_of_war,
        {
            "tow": Score(
                _of(0, _mean), "ToW", digits=4, about="ToW: product of 1 - gap over FA, RA and TA; 1 is best.",
            ),
            "tow_mia": Score(_of(1, _mean), "ToW-MIA", digits=4),
        },
    ),
    "nomus": Attack(
        "NoMUS", _nomus,
        {"nomus": Score(
            _of(0, _mean), "NoMUS", digits=4,
            about="NoMUS: half test accuracy, half how little losses tell forgotten from test images; 1 is best.",
        )},
    ),
}  # fmt: skip


def all_scores(names: Collection[str] = ()) -> dict[str, Score]:
    """The scores of the named attacks, or of all, by column. Raises BadInput for a name that is none's."""
    for name in names:
        if name not in ATTACKS:
            raise unknown("attack", name, ATTACKS)
    found = (attack for name, attack in ATTACKS.items() if not names or name in names)
    return {column: score for attack in found for column, score in attack.scores.items()}


def curve(members: np.ndarray, others: np.ndarray, points: int) -> np.ndarray:
    """A ROC curve as points × (FPR, TPR), conservative as `tpr_at`, at false-alarm rates even in the logarithm."""
    least = 1 / max(len(others), 1)
    rates = np.geomspace(least, 1, points)
    counts = counted(*_labelled(members, others))
    return np.array([(rate, share_found(counts, rate)) for rate in rates])


def check_models(models: int, names: Collection[str]) -> None:
    """BadInput where there are fewer models than one of the attacks needs."""
    for name in names:
        if models < ATTACKS[name].least:
            raise BadInput(f"{name} needs at least {ATTACKS[name].least} models, there are {models}")
