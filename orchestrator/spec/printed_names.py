"""Names as tables print them, `Q-MUL` or `ResNet-18`, where a name of a registry is asked for."""

from collections.abc import Mapping
from typing import Any

from core.data import DATASETS, OWN
from core.models import MODELS
from core.unlearn import METHODS


def method_name(text: str) -> str:
    """A method by its name, or by its title with or without capitals; anything else comes back as it is."""
    return _name(text, METHODS)


def arch_name(text: str) -> str:
    """The same for a network."""
    return text if text.startswith("tv:") else _name(MODELS.canonical(text), MODELS)


def dataset_name(text: str) -> str:
    """The same for a data set."""
    return text if text.partition(":")[0] in OWN else _name(DATASETS.canonical(text), DATASETS)


def _name(text: str, known: Mapping[str, Any]) -> str:
    if text in known:
        return text
    asked = text.strip().lower()
    return next((name for name, entry in known.items() if asked in (name.lower(), entry.title.lower())), text)
