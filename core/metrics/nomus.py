"""NoMUS (Choi & Na 2023): accuracy and unlearning in one number."""

from core.errors import BadInput


def nomus(test_accuracy: float, attack_accuracy: float) -> float:
    """½ · test accuracy + ½ · (1 - 2 |attack accuracy - ½|), all of them 0 to 1; 1 is best.

    attack_accuracy: of an attack that tells forgotten from unseen images, by their losses; 0.5 is a coin.
    Raises BadInput for percentages.
    """
    for name, value in (("test_accuracy", test_accuracy), ("attack_accuracy", attack_accuracy)):
        if not 0 <= value <= 1:
            raise BadInput(f"{name}={value:g}: NoMUS takes shares of 0 to 1")
    return test_accuracy / 2 + (1 - 2 * abs(attack_accuracy - 0.5)) / 2
