"""`--set key=value` and `--spec FILE`: from a command line to plain values of a grid."""

import copy
from pathlib import Path
from typing import Any

import yaml

from core.errors import BadInput, unknown
from orchestrator.spec.labels import json_or_text
from orchestrator.spec.recipes import RECIPES
from orchestrator.spec.specification import GridSpec, parse_spec


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
            f"ratios={_text(spec.ratios)} contradicts classes={_text(spec.classes)}: "
            "a class is forgotten whole; set one of them to [], or name both"
        )


def _text(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _from_recipe(name: str) -> dict[str, Any]:
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]().model_dump(mode="json")


def _from_file(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(f"--spec {file}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise BadInput(f"--spec {file}: a grid is a mapping of fields, this is {type(values).__name__}")
    values.pop("seal", None)  # a grid out of a store, which a person may have changed
    return {"recipe": file.stem, **values}


def _with_override(values: dict[str, Any], text: str) -> dict[str, Any]:
    """A copy with one dotted field set; the value is JSON, and what is no JSON is text."""
    key, separator, raw = text.partition("=")
    if not separator or not key:
        raise BadInput(f"--set '{text}': write key=value, such as data.limit=3000 or methods=ft,qmul")
    values = copy.deepcopy(values)
    *path, last = key.split(".")
    place = values
    for part in path:
        if not isinstance(place.get(part), dict):
            place[part] = {}
        place = place[part]
    place[last] = json_or_text(raw)
    return values
