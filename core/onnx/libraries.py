"""onnx and onnxruntime, which the extra `export` installs: asked for when something is written or run."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from core.errors import BadInput

__all__ = ["onnx", "onnxruntime"]

EXTRA = "export"

if TYPE_CHECKING:
    import onnx
    import onnxruntime
else:

    class _Wanted:
        """Stands for a module until the first use; BadInput, with what to install, where it is not there."""

        def __init__(self, name: str) -> None:
            self._name = name

        @cached_property
        def _module(self) -> ModuleType:
            try:
                return import_module(self._name)
            except ModuleNotFoundError as error:
                if error.name != self._name:
                    raise
                raise BadInput(
                    f"{self._name} is not installed here, and ONNX files need it: pip install 'unlearn-grid[{EXTRA}]'"
                ) from error

        def __getattr__(self, name: str) -> Any:
            return getattr(self._module, name)

    onnx, onnxruntime = _Wanted("onnx"), _Wanted("onnxruntime")
