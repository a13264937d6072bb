"""FA, RA, TA and their like: how many images of a set a model takes for what they are."""

from core.metrics.metric import SetPredictions


def forget_accuracy(seen: SetPredictions) -> float:
    """FA, in percent."""
    return seen.forget.accuracy


def retain_accuracy(seen: SetPredictions) -> float:
    """RA, in percent."""
    return seen.retain.accuracy


def test_accuracy(seen: SetPredictions) -> float:
    """TA, in percent; of a network that forgets a class this is A_R, which leaves that class out."""
    return seen.test.accuracy


def validation_accuracy(seen: SetPredictions) -> float | None:
    """TA on validation images, which selection reads by default; None where the grid has none."""
    return seen.validation.accuracy if len(seen.validation) else None


def error_on_forgotten_class(seen: SetPredictions) -> float | None:
    """E_F: error on test images of the forgotten class, in percent; None where no class is forgotten."""
    return 100 - seen.forgotten.accuracy if seen.forgotten else None
