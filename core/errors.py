"""The two ways in which work can go wrong by itself, and how bad input names its nearest valid value."""

from collections.abc import Iterable
from difflib import get_close_matches


class BadInput(ValueError):
    """The caller asked for something that cannot be done; the message is one line a person can act on."""


class Diverged(ArithmeticError):
    """Training produced a loss that is not finite."""


def unknown(what: str, name: object, options: Iterable[str]) -> BadInput:
    """The error for a name outside a registry: says what was asked, the nearest valid name, and the rest.

    >>> unknown("dataset", "cifar11", ["cifar10", "svhn"]).args[0]
    "unknown dataset 'cifar11': did you mean 'cifar10'? (valid: cifar10, svhn)"
    """
    valid = sorted(options)
    near = get_close_matches(str(name), valid, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return BadInput(f"unknown {what} '{name}': {hint}(valid: {', '.join(valid)})")
