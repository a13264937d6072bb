"""What goes by a name: methods, networks, data sets, quantizers; those that are here, and those of other packages.

An entry from outside is found by an entry point of its registry's group, by the entry point's name, or as
`module:object`, which is `module.object` in labels, keys and rows. What is here comes first, so that a name in a store
keeps its meaning. An entry from outside is identified by its source (`digest`), because its name alone could lie.
"""

import ast
import dataclasses
import hashlib
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.errors import BadInput, unknown

T = TypeVar("T")
_REFERENCE = re.compile(
    r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<object>[A-Za-z_]\w*)(?=:|$)", re.ASCII
)


class Registry(dict[str, T], Generic[T]):
    """The entries that are here by name; looking a name up also finds those from outside.

    what: an entry in words. kind: its class. group: of entry points. also: other names that are taken, for the error
    that tells the nearest. error: what to raise for an unknown name in that error's place.
    """

    def __init__(
        self,
        what: str,
        kind: type[T],
        group: str,
        entries: Mapping[str, T],
        also: tuple[str, ...] = (),
        error: Callable[[str], BadInput] | None = None,
    ) -> None:
        super().__init__(entries)
        self.what, self.kind, self.group = what, kind, group
        self._also = also
        self._error = error or (lambda name: unknown(what, name, (*self.names(), *also)))
        self._outside: dict[str, T] = {}

    def __missing__(self, name: str) -> T:
        """An entry from outside; BadInput, one line, where there is none by the name."""
        if name not in self._outside:
            module, attribute = self._place(name)
            if self._is_slip(name, module):
                raise self._error(name)
            self._outside[name] = self._loaded(name, module, attribute)
        return self._outside[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such an entry, here or outside."""
        try:
            return isinstance(name, str) and self[name] is not None
        except BadInput:
            return False

    def everything(self) -> dict[str, T]:
        """The entries that are here and those of all entry points, in the order of `names`."""
        return {name: self[name] for name in self.names()}

    def names(self) -> list[str]:
        """The names that are here, and those of entry points."""
        return list(dict.fromkeys([*self, *_points(self.group)]))

    def canonical(self, text: str) -> str:
        """`module:object` at the beginning of a label as `module.object`; any other label as it is."""
        found = _REFERENCE.match(text)
        if found is None or dict.__contains__(self, found["module"]) or not _may_be_module(found["module"]):
            return text
        return f"{found['module']}.{found['object']}{text[found.end() :]}"

    def digest(self, name: str) -> str | None:
        """SHA-256 of what an entry from outside is made of; None for one that is here."""
        return None if dict.__contains__(self, name) else source_digest(self._place(name)[0])

    def _place(self, name: str) -> tuple[str, str]:
        """Module and attribute of an entry from outside."""
        if name in _points(self.group):
            return _points(self.group)[name]
        module, _, attribute = name.rpartition(".")
        if not module or not all(part.isidentifier() for part in name.split(".")):
            raise self._error(name)
        return module, attribute

    def _is_slip(self, name: str, module: str) -> bool:
        """Whether a dotted name is rather a slip in another one: it is close to one, and its package is nowhere."""
        package = module.partition(".")[0]
        near = get_close_matches(name, [*self.names(), *self._also], n=1, cutoff=0.75)
        return bool(near) and name not in _points(self.group) and not _may_be_module(package)

    def _loaded(self, name: str, module: str, attribute: str) -> T:
        found = _imported(self.what, name, module)
        if not hasattr(found, attribute):
            own = [key for key, value in vars(found).items() if isinstance(value, self.kind)]
            raise unknown(f"{self.what} in {module}", attribute, own)
        entry = getattr(found, attribute)
        if not isinstance(entry, self.kind):
            raise BadInput(
                f"{self.what} '{name}': {attribute} of {module} is a {type(entry).__name__}, not a"
                f" {self.kind.__name__}"
            )
        if any(field.name == "name" for field in dataclasses.fields(entry)):  # type: ignore[arg-type]
            return dataclasses.replace(entry, name=name)  # type: ignore[type-var]
        return entry


@cache
def _points(group: str) -> dict[str, tuple[str, str]]:
    """Module and attribute of a group's entry points, by name."""
    return {point.name: (point.module, point.attr) for point in entry_points(group=group)}


def _may_be_module(name: str) -> bool:
    """False for a single word that is no module, which is rather a slip in another name."""
    return "." in name or importlib.util.find_spec(name) is not None


def _imported(what: str, name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise BadInput(
            f"{what} '{name}': there is no module {error.name} for this interpreter; install it or put its folder on"
            " PYTHONPATH, on Ray for every worker"
        ) from error
    except Exception as error:  # whatever the module does when it is imported
        line = str(error).partition("\n")[0]
        raise BadInput(
            f"{what} '{name}': importing {module} failed ({type(error).__name__}: {line})"
        ) from error


@cache
def source_digest(module: str) -> str:
    """SHA-256, hex, over the sources of a module and of what it imports from its own package."""
    total = hashlib.sha256()
    for name, source in sorted(_sources(module).items()):
        total.update(f"{name} {len(source)}\n".encode() + source)
    return total.hexdigest()


def _sources(module: str) -> dict[str, bytes]:
    """By name of the module: the bytes of its file."""
    found: dict[str, bytes] = {}
    left = [module]
    while left:
        name = left.pop()
        file = None if name in found else _file(name)
        if file is not None:
            found[name] = file.read_bytes()
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            left += [
                each for each in _imports(found[name], package) if each.split(".")[0] == module.split(".")[0]
            ]
    if module not in found:
        raise BadInput(
            f"{module} has no file whose content could name its results; put it into a module of its own"
        )
    return found


def _file(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    file = Path(spec.origin) if spec and spec.origin else None
    return file if file and file.is_file() else None


def _imports(source: bytes, package: str) -> Iterator[str]:
    """The modules that a source names, also those that could be attributes of theirs."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a compiled module
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
