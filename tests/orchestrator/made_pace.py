"""A pace of round numbers, so that no test depends on what the last benchmark measured."""

from orchestrator.plan.costs.paces import AttackPace, NetworkPace, Pace


def made_pace(**changes):
    """Of one network, which stands for all: a second per 10⁹ multiply-accumulates, and so on."""
    methods = {"ft": 1.5, "retrain": 3.0}
    network = NetworkPace(
        gigamac=1.0, values=0.5, step=2.0, residual=0.0, prediction=0.25, node=8.0, methods=methods
    )
    attack = AttackPace(seconds=4.0, power=2.0)
    facts = {
        "hardware": "a core",
        "device": "cpu",
        "measured": "2026-01-02",
        "torch": "2",
        "dtype": "float32",
    }
    return Pace(**(facts | {"networks": {"resnet18": network}, "attack": attack} | changes))
