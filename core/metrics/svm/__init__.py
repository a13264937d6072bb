"""The support vector machine of the membership attack: scikit-learn's numbers in less time."""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.metrics.svm.svc import TrainedSVC as TrainedSVC, train_svc as train_svc
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
