"""Named grids: each a short function that returns a GridSpec."""

from collections.abc import Callable

from core.unlearn import METHODS
from orchestrator.spec.document_grids import DOCUMENT_GRIDS
from orchestrator.spec.paper_grids import PAPER_GRIDS
from orchestrator.spec.specification import AuditSpec, DataSpec, GridSpec, LimitSpec, SearchSpec


def digits() -> GridSpec:
    """All eight methods on embedded digits, a random share and a class: 3 minutes.

    300 images, so that the original memorises them and there is something to forget; three seeds, so that there
    is noise to compare with. Nothing is downloaded.
    """
    return GridSpec(
        recipe="digits",
        precision="float32",
        datasets=("digits",),
        archs=("resnet18",),
        ratios=(0.3,),
        classes=(0,),
        seeds=(1, 2, 3),
        widths={"resnet18": 0.125},
        original={"epochs": 20, "batch_size": 64},
        retrain={"epochs": 20},
        params={"all": {"batch_size": 64}},
        data=DataSpec(limit=LimitSpec(train=300)),
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
        params={"all": {"batch_size": 64}},
        data=DataSpec(limit=LimitSpec(train=3000, test=2000), augment=False),
        search=SearchSpec(trials=5),
    )


def audit_small() -> GridSpec:
    """An audit of five methods by 16 models each, on a LeNet 4w4a and 1,000 CIFAR-10 images.

    Minutes on two CPU cores. No augmentation and many epochs, so that the original memorises: 270 images are
    forgotten.
    """
    return GridSpec(
        recipe="audit_small",
        datasets=("cifar10",),
        archs=("lenet",),
        quantizers=("4w4a",),
        ratios=(0.3,),
        methods=("retrain", "ft", "ga", "rl", "salun", "qmul"),
        original={"epochs": 40, "batch_size": 32},
        retrain={"epochs": 40},
        params={"all": {"batch_size": 32}},
        data=DataSpec(limit=LimitSpec(train=1000, test=1000), augment=False),
        search=SearchSpec(trials=3),
        split="one",  # also in the published protocol: shadows learn all that they are to forget
        audit=AuditSpec(models=16),
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


def fidelity() -> GridSpec:
    """Every method beside itself with one switch turned, on 2,000 CIFAR-10 images.

    The switches are the readings that the paper leaves open and the deeds of the published code, one at a
    time; protocol=released turns a method's whole published set. One fixed setting for each method, strong
    enough to move the network, so that a difference is the switch's and not the search's. What only acts
    through augmentation is left out, as there is none here (see `cifar10_small`).
    """
    settings: dict[str, dict[str, object]] = {
        "ft": {"lr": 0.1},
        "ga": {"lr": 1e-3},
        "iu": {"alpha": 10.0},
        "rl": {"lr": 0.05},
        "l1_sparse": {"lr": 0.1, "alpha": 1e-4},
        "salun": {"lr": 0.05, "fraction": 0.5},
        "qmul": {"lr": 0.1},
        "qmul_no_sl": {"lr": 0.1},
        "qmul_no_agr": {"lr": 0.1},
    }
    return GridSpec(
        recipe="fidelity",
        precision="float32",
        datasets=("cifar10",),
        archs=("resnet18",),
        ratios=(0.3,),
        methods=("retrain", *(label for name in settings for label in _switched(name))),
        seeds=(1, 2, 3),
        widths={"resnet18": 0.125},
        original={"epochs": 30, "batch_size": 64},
        retrain={"epochs": 30},
        params={"all": {"batch_size": 64}, **settings},
        data=DataSpec(limit=LimitSpec(train=2000, test=2000), augment=False),
        search=SearchSpec(trials=1),
    )


def cross_table() -> GridSpec:
    """Every method on a full-precision and a 4-bit network, 2,000 CIFAR-10 images, 10 % forgotten.

    Small enough for CPUs, and made as `cifar10_small` is. Methods that forget nothing but whole classes are left out
    here; `cross_table_class` has them.
    """
    return GridSpec(
        recipe="cross_table",
        precision="float32",
        datasets=("cifar10",),
        archs=("resnet18",),
        quantizers=("fp", "4w4a"),
        ratios=(0.1,),
        methods=tuple(METHODS),
        widths={"resnet18": 0.125},
        original={"epochs": 30, "batch_size": 64},
        retrain={"epochs": 30},
        # as long as Retrain where their own numbers are for far more images
        params={
            "all": {"batch_size": 64},
            "erm_ktp": {"epochs": 30},
            "zero_shot": {"pseudo_batches": 100},
        },
        data=DataSpec(limit=LimitSpec(train=2000, test=2000), augment=False),
        search=SearchSpec(trials=2),
    )


def cross_table_class() -> GridSpec:
    """Every method on a full-precision and a 4-bit network, 2,000 CIFAR-10 images, class 0 forgotten."""
    changes = {"recipe": "cross_table_class", "ratios": (), "classes": (0,)}
    return cross_table().model_copy(update=changes)


SWITCHES: dict[str, tuple[str, ...]] = {
    "ft": ("decay_quantizers=true",),
    "ga": ("decay_quantizers=true",),
    "iu": ("variant=released", "move_quantizers=true"),
    "rl": ("order=sequential", "true_label_possible=true", "protocol=released"),
    "l1_sparse": ("penalise_quantizers=true", "penalise_norms=false"),
    "salun": ("masked_weights=decaying", "mask_quantizers=free", "order=sequential", "protocol=released"),
    "qmul": (
        "label_rule=released",
        "label_refresh=epoch",
        "label_assignment=shuffled",
        "measure_mode=train",
        "norm=tensor_sum",
        "norm=dataset",
        "norm_over=weights",
        "norm_labels=true",
        "normaliser=weights",
        "order=sequential",
        "protocol=released",
    ),
    "qmul_no_agr": ("weights=half",),
}


def _switched(name: str) -> list[str]:
    """A method's label and those of its variants."""
    return [name, *(f"{name}:{switch}" for switch in SWITCHES.get(name, ()))]


RECIPES: dict[str, Callable[[], GridSpec]] = {
    "digits": digits,
    "cifar10_small": cifar10_small,
    "audit_small": audit_small,
    "fidelity": fidelity,
    "full": full,
    "cross_table": cross_table,
    "cross_table_class": cross_table_class,
    **PAPER_GRIDS,
    **DOCUMENT_GRIDS,
}
