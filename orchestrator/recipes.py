"""Named grids: each a short function that returns a GridSpec."""

from collections.abc import Callable

from orchestrator.spec import DataSpec, GridSpec, LimitSpec, SearchSpec


def digits() -> GridSpec:
    """All eight methods on scikit-learn's embedded digits: minutes on two CPU cores, no download."""
    return GridSpec(
        recipe="digits",
        datasets=("digits",),
        archs=("resnet18",),
        ratios=(0.1,),
        widths={"resnet18": 0.125},
        original={"epochs": 20, "batch_size": 64},
        retrain={"epochs": 20},
        params=_batches_of(64),
        search=SearchSpec(trials=3),
    )


def cifar10_small() -> GridSpec:
    """All eight methods on 3,000 CIFAR-10 images with a quarter-width ResNet-18.

    No augmentation, so that the original memorises and there is something to forget. 30 % are forgotten: at
    10 % the forget set's accuracy alone would be uncertain by 3 points.
    """
    return GridSpec(
        recipe="cifar10_small",
        datasets=("cifar10",),
        archs=("resnet18",),
        ratios=(0.3,),
        widths={"resnet18": 0.25},
        original={"epochs": 30, "batch_size": 64},
        retrain={"epochs": 30},
        params=_batches_of(64),
        data=DataSpec(limit=LimitSpec(train=3000, test=2000), augment=False),
        search=SearchSpec(trials=5),
    )


def full() -> GridSpec:
    """The paper: 4 datasets × 2 networks × 3 ratios × 8 methods, Appendix A's ranges."""
    return GridSpec(
        recipe="full",
        datasets=("cifar10", "cifar100", "svhn", "tiny_imagenet"),
        archs=("resnet18", "mobilenetv2"),
        ratios=(0.1, 0.3, 0.5),
        needs_gpu=True,
    )


def _batches_of(size: int) -> dict[str, dict[str, object]]:
    """Small data sets need small batches to make enough steps."""
    names = ("ft", "ga", "iu", "rl", "l1_sparse", "salun", "qmul")
    return {name: {"batch_size": size} for name in names}


RECIPES: dict[str, Callable[[], GridSpec]] = {
    "digits": digits,
    "cifar10_small": cifar10_small,
    "full": full,
}
