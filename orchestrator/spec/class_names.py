"""Classes by name, `classes=cat`, for data sets whose classes have names that their publishers print."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import BadInput, unknown

CLASS_NAMES: Mapping[str, tuple[str, ...]] = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "cifar100": (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
        "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
        "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
        "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
        "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
        "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
        "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
        "willow_tree", "wolf", "woman", "worm",
    ),
    "fashion_mnist": (
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot",
    ),
}  # fmt: skip


def class_name(dataset: str, number: int) -> str | None:
    """What the publisher calls a class, in words; None where nobody knows here."""
    names = CLASS_NAMES.get(dataset, ())
    return names[number].replace("_", " ") if number < len(names) else None


def class_numbers(classes: Sequence[Any], datasets: Sequence[str]) -> list[Any]:
    """The classes with a number in the place of every name; what is no name stays as it is.

    BadInput for a name that a data set of the grid has not, and for one whose number is not the same in all of them.
    """
    return [_number(each, datasets) if _is_name(each) else each for each in classes]


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and any(sign.isalpha() for sign in value)


def _number(name: str, datasets: Sequence[str]) -> int:
    asked = name.strip().lower().replace(" ", "_")
    numbers = {dataset: _names(dataset, name).index(_known(asked, dataset)) for dataset in datasets}
    if len(set(numbers.values())) > 1:
        where = ", ".join(f"{number} in {dataset}" for dataset, number in numbers.items())
        raise BadInput(f"classes: {name} is class {where}: give the data sets a grid each")
    return next(iter(numbers.values()))


def _names(dataset: str, name: str) -> tuple[str, ...]:
    if dataset not in CLASS_NAMES:
        raise BadInput(
            f"classes: nobody knows the names of {dataset}'s classes here: give a number for {name!r}"
        )
    return CLASS_NAMES[dataset]


def _known(asked: str, dataset: str) -> str:
    if asked not in CLASS_NAMES[dataset]:
        raise unknown(f"class of {dataset}", asked, CLASS_NAMES[dataset])
    return asked
