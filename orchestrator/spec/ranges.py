"""What a method's search goes through: its published ranges, or those that `search.ranges` sets in their place.

A range is written as its two ends, whole numbers where the hyper-parameter takes no others; as a list of the values
themselves, for words and for three numbers or more; or in full, as {"low": 1, "high": 8, "log": false} or
{"values": [16, 64]}. It is even in the logarithm where the published range is, and, of a hyper-parameter without one,
where its ends are a factor of ten apart.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from core.errors import BadInput, unknown
from core.unlearn import Choice, Method, Range, Space
from orchestrator.spec.labels import json_or_text, text_of, worded
from orchestrator.spec.validation import valid

WIDE = 10  # how many times the low end the high end must be, for an unpublished range to be logarithmic
_FORMS = 'write two ends, such as [0.01,0.1], or a list of values, such as ["joint","sequential"]'


def space_of(method: Method, arch: str, own: Mapping[str, Any]) -> Space:
    """What is searched by default: the published ranges on a network, with the grid's `own` in their place."""
    published = method.space(arch)
    return {**published, **{name: _read(method, published.get(name), name, own[name]) for name in own}}


def check_ranges(method: Method, own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raises BadInput for a range that is none, or that goes beyond what the method takes.

    given: the method's hyper-parameters before the search.
    """
    for name, value in own.items():
        where = _where(method, name)
        if name not in method.params.model_fields:
            raise unknown(f"hyper-parameter in search.ranges.{method.name}", name, method.params.model_fields)
        if method.hook and name in method.hook.setting(method.params()):
            raise BadInput(
                f"{where}: {name} is settled while the original trains; compare variants instead, such as"
                f" methods={method.name}:{name}=…"
            )
        found = space_of(method, "", {name: value})[name]
        ends = found.values if isinstance(found, Choice) else (found.at(0), found.at(1))
        for end in ends:
            valid(where, method.params, {**given, name: end})


def _read(method: Method, published: Range | Choice | None, name: str, value: Any) -> Range | Choice:
    where, words = _where(method, name), f"{_where(method, name)}={text_of(value)}"
    if isinstance(value, Mapping):
        return _in_full(method, published, name, value)
    if isinstance(value, str):
        value = [json_or_text(part.strip()) for part in value.split(",")]
    if not isinstance(value, list | tuple):
        raise BadInput(f"{words}: {_FORMS}; params.{method.name}.{name} sets a single value")
    if len(value) == 2 and _takes_numbers(method, name) and all(map(_is_number, value)):
        low, high = value
        return _range(words, method, name, low, high, _is_log(published, low, high))
    return _choice(where, method, name, value)


def _in_full(
    method: Method, published: Range | Choice | None, name: str, value: Mapping[str, Any]
) -> Range | Choice:
    words = f"{_where(method, name)}={text_of(value)}"
    if value.keys() == {"values"} and isinstance(value["values"], list | tuple):
        return _choice(_where(method, name), method, name, value["values"])
    low, high = value.get("low"), value.get("high")
    if not value.keys() <= {"low", "high", "log"} or not (_is_number(low) and _is_number(high)):
        raise BadInput(f'{words}: in full it is {{"low": …, "high": …, "log": false}} or {{"values": […]}}')
    return _range(words, method, name, low, high, bool(value.get("log", _is_log(published, low, high))))


def _range(words: str, method: Method, name: str, low: Any, high: Any, log: bool) -> Range:
    whole = float not in set(_types(method.params.model_fields[name].annotation))
    if not low < high or not math.isfinite(high - low):
        raise BadInput(f"{words}: the lower end comes first; params.{method.name}.{name} sets a single value")
    if log and low <= 0:
        raise BadInput(
            f'{words}: a logarithmic range begins above 0; add "log": false to one written in full'
        )
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        raise BadInput(f"{words}: {name} takes whole numbers")
    return Range(low, high, log, whole)


def _choice(where: str, method: Method, name: str, values: Any) -> Choice:
    found = tuple(dict.fromkeys(worded(method, {name: value})[name] for value in values if _is_plain(value)))
    if len(found) < len(values) or len(found) < 2:
        raise BadInput(f"{where}={text_of(list(values))}: {_FORMS}, each value once and without spaces")
    return Choice(found)


def _is_log(published: Range | Choice | None, low: Any, high: Any) -> bool:
    return published.log if isinstance(published, Range) else 0 < WIDE * low <= high


def _takes_numbers(method: Method, name: str) -> bool:
    """Whether a hyper-parameter is a number; one that is unknown is told elsewhere."""
    field = method.params.model_fields.get(name)
    return field is not None and not {int, float}.isdisjoint(_types(field.annotation))


def _types(annotation: Any) -> Iterator[Any]:
    parts = get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _types(part)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    """Whether a value can stand in the line that names a trial, in which spaces part the hyper-parameters."""
    return (
        value is None
        or isinstance(value, bool | int | float)
        or (isinstance(value, str) and value.split() == [value])
    )


def _where(method: Method, name: str) -> str:
    return f"search.ranges.{method.name}.{name}"
