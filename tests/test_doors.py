"""Every package has one door: what it exports is there, is used, and is all that others import of it."""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

from core.door import exports

ROOT = Path(__file__).parents[1]
TOPS = ("core", "tasks", "orchestrator")  # their own modules are rooms; only packages below them have walls
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for top in TOPS
    for file in (ROOT / top).rglob("*.py")
}
OUTSIDE = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in (ROOT / "tests").rglob("*.py")
}
TREES = {module: ast.parse(file.read_text("utf-8")) for module, file in (FILES | OUTSIDE).items()}
PACKAGES = sorted(module for module, file in FILES.items() if file.name == "__init__.py")
INNER = {
    "core.metrics.audit",
    "orchestrator.plan.costs",
}  # rooms inside a room that others enter by their own door
# What notebooks and other people's methods import, and the project itself by other ways or not at all.
PUBLIC = {
    "orchestrator": {"load_model", "load_results"},
    "orchestrator.results": {"load_model", "load_results"},
    "core.data": {"Dataset"},
    "core.metrics": {"FURTHER", "Better", "Estimate", "Predictions", "svc_mia"},
    "core.models": {"ModelInfo", "build"},
    "core.quant": {"QuantizerPair", "flip_rate", "quantizer_faults", "step_drift", "weight_codes"},
    "core.unlearn": {"Passes", "UnlearnParams"},
}


def doors():
    return {
        package: {
            name for names in exports(package, FILES[package].read_text("utf-8")).values() for name in names
        }
        for package in PACKAGES
    }


DOORS = doors()


def imports(module: str) -> Iterator[tuple[str, ast.alias]]:
    """(from where, what) of every import from the project in a module; a door's own exports left out."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in TOPS:
            inside = module in DOORS and f"{node.module}.".startswith(f"{module}.")
            yield from () if inside else ((node.module, alias) for alias in node.names)


def attributes(module: str) -> Iterator[tuple[str, str]]:
    """(package, name) of what a module asks of packages that it imported whole, as in `models.build`."""
    names = {alias.asname or alias.name: f"{where}.{alias.name}" for where, alias in imports(module)}
    for node in ast.walk(TREES[module]):
        of_name = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if of_name and names.get(node.value.id) in DOORS:
            yield names[node.value.id], node.attr


@cache
def uses(module: str) -> set[tuple[str, str]]:
    """(package, name) of everything that a module takes from packages."""
    return {(where, alias.name) for where, alias in imports(module)} | set(attributes(module))


def wall(module: str, where: str) -> str | None:
    """The outermost package around `where` that the module is not in; None if it is in all of them."""
    parts = where.split(".")
    around = (".".join(parts[:length]) for length in range(2, len(parts) + 1))
    return next((p for p in around if p in DOORS and not f"{module}.".startswith(f"{p}.")), None)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_door_says_what_its_room_does_and_opens(package):
    text = ast.get_docstring(TREES[package])
    assert text is not None
    assert text.endswith(".")
    room = importlib.import_module(package)
    for name in DOORS[package]:
        assert getattr(room, name) is not None


@pytest.mark.parametrize("package", [p for p in PACKAGES if p.count(".") == 1])
def test_a_room_says_what_it_must_not_know(package):
    text = " ".join(ast.get_docstring(TREES[package]).split())
    boundary = ("Must not", "must not", "nothing of", "neither", "nothing imports it", "measures nothing")
    assert any(words in text for words in boundary)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_on_the_door_is_no_other_module_s(package):
    for where, names in exports(package, FILES[package].read_text("utf-8")).items():
        for name in names if where != package else ():
            assert f"{package}.{name}" not in FILES, (
                f"{package} exports {name} of {where}, and has such a module"
            )


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_module_enters_other_rooms_by_their_doors(module):
    for where, alias in imports(module):
        what = alias.name
        room = wall(module, where) or wall(module, f"{where}.{what}")
        if room is None or where in INNER or f"{where}.{what}" == room:
            continue
        assert where == room, f"{module} imports {what} from {where}, behind the door of {room}"
        assert what in DOORS[room], f"{module} imports {what}, which {room} does not export"


@pytest.mark.parametrize("package", [p for p in PACKAGES if p not in TOPS])
def test_nothing_hangs_on_a_door_for_nobody(package):
    outside = [m for m in TREES if not f"{m}.".startswith(f"{package}.")]
    used = {what for m in outside for where, what in uses(m) if where == package}
    assert DOORS[package] - used - PUBLIC.get(package, set()) == set()


def stem(name: str) -> str:
    """A name without the ending that makes two of one: s, es, ing, er, ed, _text…"""
    for ending in ("_text", "ings", "ing", "ers", "er", "ed", "es", "s", "e"):
        if name.endswith(ending) and len(name) > len(ending) + 2:
            return name.removesuffix(ending)
    return name


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_modules_of_a_room_differ_by_an_ending(package):
    inside = [m.rpartition(".")[2] for m in FILES if m.rpartition(".")[0] == package]
    alike = [pair for pair in combinations(sorted(inside), 2) if stem(pair[0]) == stem(pair[1])]
    # a node, and the functions that compute one: the names that stores and documents have used from the start
    assert alike == ([("node", "nodes")] if package == "tasks" else [])


def test_no_two_rooms_next_to_each_other_differ_by_an_ending():
    rooms = sorted({p.rpartition(".")[2] for p in PACKAGES if p.count(".") <= 1})
    assert [pair for pair in combinations(rooms, 2) if stem(pair[0]) == stem(pair[1])] == []
