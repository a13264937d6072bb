"""The methods: `METHODS`, the signature that all of them share, and how they take part in an original's training.

A method is one file with its function, hyper-parameters and published search range, and a line in `methods.py`.
Knows networks, data and the loop; nothing of grids, stores or workers.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.unlearn.base import (
        Choice as Choice,
        Method as Method,
        Problem as Problem,
        Range as Range,
        Space as Space,
        UnlearnParams as UnlearnParams,
    )
    from core.unlearn.hooks import (
        Hook as Hook,
        Participant as Participant,
        Setting as Setting,
        Training as Training,
    )
    from core.unlearn.methods import ABLATED as ABLATED, METHODS as METHODS, unknown_method as unknown_method
    from core.unlearn.passes import Passes as Passes, both_sets as both_sets
    from core.unlearn.retrain import RetrainParams as RetrainParams, train_from_scratch as train_from_scratch
    from core.unlearn.shared import Memory as Memory, Shared as Shared
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
