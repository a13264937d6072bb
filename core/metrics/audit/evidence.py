"""What an audit looks at: the margins of as many unlearned as retrained models, in pairs that divide the images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from core.errors import BadInput

Figures = Mapping[str, float]  # fa, ra, ta and mia in percent


@dataclass(frozen=True)
class Side:
    """Models of one kind: margins of audited, retained and test images, M x N, M x R and M x T; figures of each."""

    forget: np.ndarray
    retain: np.ndarray
    test: np.ndarray
    figures: Sequence[Figures]

    def __len__(self) -> int:
        return len(self.forget)

    def reordered(self, order: np.ndarray) -> "Side":
        """The same models in another order."""
        return Side(
            self.forget[order], self.retain[order], self.test[order], [self.figures[int(k)] for k in order]
        )


@dataclass(frozen=True)
class Evidence:
    """A method's models (subject) and the Retrain of each.

    Models come in pairs, (0, 1), (2, 3), …, each image inside exactly one of a pair. inside: M x N, whether an image
    was trained on and then forgotten by a model; the model's Retrain has not seen it in any case, and no model has
    seen a test image. Retained images were retained by every model. Model 0 is the one whose audit this is, and all
    audited images are inside it.

    Raises BadInput where they are not.
    """

    subject: Side
    retrain: Side
    inside: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.subject) == len(self.retrain) == len(self.inside) or len(self.inside) % 2:
            raise BadInput(
                f"an audit needs unlearned and retrained models in pairs; these are {len(self.subject)} and "
                f"{len(self.retrain)}"
            )
        if not (self.inside[0::2] ^ self.inside[1::2]).all():
            raise BadInput("references saw the target images: each has to be inside one model of every pair")

    @property
    def models(self) -> int:
        """How many models there are of either kind."""
        return len(self.inside)

    def of_retrain(self, order: np.ndarray) -> "Evidence":
        """What a method would leave that is Retrain itself: Retrains in any order stand for both sides.

        Which of them stands for which unlearned model is free, because none has seen an audited image.
        """
        retrain = self.retrain.reordered(order)
        return Evidence(retrain, retrain, self.inside)


class Halves(NamedTuple):
    """Margins of the models that an image was inside of, and of those that it was not, M/2 x N each."""

    within: np.ndarray
    out: np.ndarray


def halves(within_MN: np.ndarray, out_MN: np.ndarray, inside_MN: np.ndarray) -> Halves:
    """Of the first models those with each image inside, of the second those without it."""
    order = np.argsort(~inside_MN, 0, kind="stable")
    half = len(order) // 2
    return Halves(np.take_along_axis(within_MN, order[:half], 0), np.take_along_axis(out_MN, order[half:], 0))
