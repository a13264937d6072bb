"""The grids behind the tables and figures of three other papers, on full-precision and on quantized networks.

Mnemonic code (Yamashita et al.), layer-wise partial unlearning (Gogineni, Nadimi) and residual feature alignment
with LoRA (Qin et al.). All are for GPUs; what their papers leave out is marked: inferred.
"""

from collections.abc import Callable

from orchestrator.spec.specification import GridSpec, SearchSpec

QUANTIZERS = ("fp", "4w4a")
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)  # of a layer's entries; 1 is the method's default


def mnemonic_table() -> GridSpec:
    """Mnemonic code, tables 2 and 3: A_R (the TA column) and E_F after forgetting a class.

    MNIST and CIFAR-10 with ResNet-18; class 0 (inferred). Its table 4, ImageNet, takes torchvision's networks with
    `mnemonic_ft`.
    """
    return GridSpec(
        recipe="mnemonic_table",
        datasets=("mnist", "cifar10"),
        archs=("resnet18",),
        quantizers=QUANTIZERS,
        classes=(0,),
        methods=("retrain", "unsir", "lwsf", "sfdn", "ssd", "erm_ktp", "mnemonic", "mnemonic_ft"),
        seeds=(1, 2, 3),
        needs_gpu=True,
    )


def amnesiac_figure() -> GridSpec:
    """Partial amnesiac, figures 1 and 4: accuracy against the recorded share and the share of affected batches.

    MNIST with MLP, LeNet and ResNet-9, class 3 as in its figure 3; 10 epochs of batches of 64 (inferred). A tenth of
    the images is the least that one class of ten can be gathered into; without `affected` they lie anywhere.
    Figure 2 is `--set datasets=organamnist --set archs=convnet,alexnet,resnet9`.
    """
    whole = "amnesiac:affected=0.1"
    partial = tuple(f"{whole}:fraction={share:g}" for share in SHARES)
    affected = (
        *(f"amnesiac:affected={share:g}:fraction=0.1" for share in (0.25, 0.5)),
        "amnesiac:fraction=0.1",
    )
    tuned = tuple(f"{label}:tune_epochs=2" for label in (whole, partial[0], partial[2], partial[4]))
    return GridSpec(
        recipe="amnesiac_figure",
        datasets=("mnist",),
        archs=("mlp", "lenet", "resnet9"),
        quantizers=QUANTIZERS,
        classes=(3,),
        methods=("retrain", whole, *partial, *affected, *tuned, "label_flip", "label_flip:fraction=1"),
        original={"epochs": 10, "batch_size": 64, "lr": 0.01},
        retrain={"epochs": 10},
        params={"all": {"batch_size": 64}},
        search=SearchSpec(trials=4),
        needs_gpu=True,
    )


def rfa_table() -> GridSpec:
    """Residual feature alignment: distances to Retrain, run time and MIA of class-wise forgetting.

    CIFAR-10 and Fashion-MNIST, ResNet-18, class 0 (inferred). For samples: `--set classes=[] --set ratios=0.1`.
    """
    return GridSpec(
        recipe="rfa_table",
        datasets=("cifar10", "fashion_mnist"),
        archs=("resnet18",),
        quantizers=QUANTIZERS,
        classes=(0,),
        methods=("retrain", "ft", "ga", "rl", "scrub", "ssd", "rfa_lora"),
        seeds=(1, 2, 3),
        needs_gpu=True,
    )


DOCUMENT_GRIDS: dict[str, Callable[[], GridSpec]] = {
    "mnemonic_table": mnemonic_table,
    "amnesiac_figure": amnesiac_figure,
    "rfa_table": rfa_table,
}
