"""`--set key=value` and `--spec FILE`: from a command line to plain values of a grid."""

import codecs
import copy
from pathlib import Path
from typing import Any

import yaml

from core.errors import BadInput, unknown
from core.unlearn import METHODS
from orchestrator.spec.labels import json_or_text
from orchestrator.spec.recipes import RECIPES
from orchestrator.spec.specification import GridSpec, parse_spec

LARGEST = 1 << 20  # bytes of a file
MOST_VALUES = 100_000  # in a file; a grid of all recipes together has a few thousand


def grid_spec(recipe: str | None, file: Path | None, overrides: list[str]) -> GridSpec:
    """The grid of a recipe (default: full) or of a YAML file, with `key=value` overrides applied in order."""
    if recipe and file:
        raise BadInput(f"--recipe {recipe} contradicts --spec {file}: give one of them")
    return with_overrides(_from_file(file) if file else _from_recipe(recipe or "full"), overrides)


def with_overrides(values: dict[str, Any], overrides: list[str]) -> GridSpec:
    """The grid of plain values after `key=value` overrides."""
    changed = values
    for text in overrides:
        changed = _with_override(changed, text)
    spec = parse_spec(changed)
    _refuse_one_more_scenario(values, spec, {text.partition("=")[0] for text in overrides})
    return spec


def _refuse_one_more_scenario(before: dict[str, Any], spec: GridSpec, named: set[str]) -> None:
    """BadInput where the other scenario was meant: a class named in a grid of random shares doubles it unasked."""
    there = {name for name in ("ratios", "classes") if before.get(name)}
    if spec.ratios and spec.classes and len(there) == 1 and len(named & {"ratios", "classes"}) == 1:
        raise BadInput(
            f"ratios={_listing(spec.ratios)} contradicts classes={_listing(spec.classes)}: "
            "a class is forgotten whole; set one of them to [], or name both"
        )


def _listing(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _from_recipe(name: str) -> dict[str, Any]:
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]().model_dump(mode="json")


def _from_file(file: Path) -> dict[str, Any]:
    text = _text(file)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"--spec {file}: {' '.join(str(error).split())}") from error
    except (ValueError, OverflowError, TypeError) as error:  # dates and numbers that are none
        raise BadInput(f"--spec {file} holds a value that is none: {error}") from error
    except RecursionError as error:
        raise BadInput(f"--spec {file} is nested too deep to be a grid") from error
    _check_size(values, file)
    if not isinstance(values, dict):
        raise BadInput(f"--spec {file}: a grid is a mapping of fields, this is {type(values).__name__}")
    values.pop("seal", None)  # a grid out of a store, which a person may have changed
    return {"recipe": file.stem, **values}


def _text(file: Path) -> str:
    """What is in a file, in UTF-8, or in UTF-16 if it begins by saying so."""
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except IsADirectoryError as error:
        raise BadInput(f"--spec {file} is a folder; name the YAML file of a grid") from error
    except (OSError, ValueError) as error:  # the latter: no file can be called so
        raise BadInput(f"--spec {file} cannot be read ({getattr(error, 'strerror', error)})") from error
    if len(data) > LARGEST:
        raise BadInput(f"--spec {file} is larger than the 1 MiB that a grid can have")
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"--spec {file} is not text in UTF-8 (line {row}); save it as UTF-8") from error


def _check_size(values: Any, file: Path) -> None:
    """A few lines of YAML can stand for billions of values, each an alias of many."""
    waiting, seen = [values], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise BadInput(f"--spec {file} holds more than {MOST_VALUES:,} values, which no grid does")
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value


def _path(key: str) -> list[str]:
    """The fields of a dotted name; a method or network from outside has dots in its own."""
    for field, after in (("params", 1), ("search.ranges", 1), ("widths", 0)):
        if key.startswith(f"{field}."):
            name, *last = key.removeprefix(f"{field}.").rsplit(".", after)
            return [*field.split("."), METHODS.canonical(name), *last]
    return key.split(".")


def _with_override(values: dict[str, Any], text: str) -> dict[str, Any]:
    """A copy with one dotted field set; the value is JSON, and what is no JSON is text."""
    key, separator, raw = text.partition("=")
    if not separator or not key:
        raise BadInput(f"--set '{text}': write key=value, such as data.limit=3000 or methods=ft,qmul")
    values = copy.deepcopy(values)
    *path, last = _path(key)
    place = values
    for part in path:
        if not isinstance(place.get(part), dict):
            place[part] = {}
        place = place[part]
    place[last] = json_or_text(raw)
    return values
