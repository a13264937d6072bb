"""Torch and implementations by name, for modules that are imported long before anything trains.

`plan`, `status` and `report` import every method, network and quantizer for its title, its hyper-parameters and its
search range, and none of them runs one. Loading torch for that would cost seconds and most of a gigabyte. So

- a module that they reach takes `torch`, `nn`, `F` and `Tensor` from here, begins with
  `from __future__ import annotations` and asks torch for nothing while it is imported: `@no_grad` stands for
  `@torch.no_grad()`, and functions of `core.quant` and `core.models` are called through these doors
  (`quant.keep_valid_(model)`);
- classes that have to inherit from torch's (networks, layers, quantizers) live in `core.models` and `core.quant`,
  import torch itself, and are named in their registries by a `Lazy`.

The first use loads the real module, and every later one is an attribute of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, ForwardRef, ParamSpec, TypeVar

__all__ = ["F", "Lazy", "Tensor", "nn", "no_grad", "safetensors", "torch"]

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    import torch
    from safetensors import torch as safetensors
    from torch import Tensor, nn
    from torch.nn import functional as F
else:

    class _Later:
        """Stands for a module outside `sys.modules`, where a placeholder would be taken for the module itself."""

        def __init__(self, name: str) -> None:
            self._name = name

        @cached_property
        def _module(self) -> ModuleType:
            return import_module(self._name)  # waits where another thread imports it

        def __getattr__(self, name: str) -> Any:
            return getattr(self._module, name)

    torch, nn, F = _Later("torch"), _Later("torch.nn"), _Later("torch.nn.functional")
    safetensors = _Later("safetensors.torch")
    Tensor = ForwardRef("torch.Tensor")  # for annotations and aliases; the class is `torch.Tensor`


def no_grad(function: Callable[P, T]) -> Callable[P, T]:
    """`torch.no_grad` as a decorator, asked for when the function is called."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch.no_grad():
            return function(*args, **kwargs)

    return inner


class Lazy:
    """A function or class named as `module:name`, imported when it is first called.

    >>> Lazy("math:gcd")(12, 18)
    6
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def target(self) -> Callable[..., Any]:
        """What the name stands for."""
        module, _, name = self.name.partition(":")
        found: Callable[..., Any] = getattr(import_module(module), name)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls it."""
        return self.target(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Lazy({self.name!r})"
