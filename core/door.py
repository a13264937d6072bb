"""The door of a package: what others may import from it, each module loaded when it is first asked for.

A package's `__init__.py` names its exports in an `if TYPE_CHECKING:` block, where type checkers and people read
them, and hands that block to `door` for everybody else:

    if TYPE_CHECKING:
        from core.train.loop import fit as fit
    else:
        __getattr__, __dir__, __all__ = door(__name__, __file__)

So a command that only counts nodes does not wait for what trains them (PEP 562), and no circle of imports can arise
between a package and its own modules.
"""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lazy_loader

Door = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def door(package: str, file: str) -> Door:
    """`__getattr__`, `__dir__` and `__all__` of a package. file: its `__init__.py`, which is read, not run."""
    names = exports(package, Path(file).read_text("utf-8"))
    return lazy_loader.attach(package, names.pop(package, []), names)


def exports(package: str, source: str) -> dict[str, list[str]]:
    """The names that an `__init__.py` exports under `if TYPE_CHECKING:`, by module below the package.

    Modules that are exported themselves stand under the package's own name.

    >>> exports("core.train", "if TYPE_CHECKING:\\n    from core.train.loop import fit as fit")
    {'loop': ['fit']}
    """
    found: dict[str, list[str]] = {}
    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If) and _for_types(node.test)]
    for statement in (line for block in blocks for line in block.body):
        if isinstance(statement, ast.ImportFrom) and statement.module:
            names = [alias.name for alias in statement.names]
            found.setdefault(statement.module.removeprefix(f"{package}."), []).extend(names)
    return found


def _for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"
