"""What a model of pydantic objects to, as one line that a person can act on."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from core.errors import BadInput, unknown


def valid(
    where: str | Callable[[str], str], model: type[BaseModel], values: dict[str, Any]
) -> dict[str, Any]:
    """The values, if the model takes them; BadInput in one line otherwise.

    where: what gave the values, or, of a field's name, what gave that one; "" if it is not one field's fault.
    """
    try:
        model.model_validate(values)
    except ValidationError as error:
        place = error.errors()[0]["loc"]
        given = where if isinstance(where, str) else where(str(place[0]) if place else "")
        raise BadInput(f"{given}: {one_line(error, model)}") from error
    return values


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing pydantic objects to, as one line with the nearest valid value where there is one."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, BadInput):
        return f"{place}: {cause}" if place else str(cause)
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, first["loc"][:-1])
        return str(unknown("key", place, _full_names(owner, first["loc"][:-1])))
    return f"{place}: {first['msg'].lower()} (got {str(first['input'])!r:.60})"


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that owns the fields at a path of an error."""
    for name in path:
        field = model.model_fields.get(str(name))
        model = next(models_in(field.annotation), model) if field else model
    return model


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that an annotation such as `Annotated[LimitSpec, …] | None` names."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def _full_names(owner: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    return [".".join([*(str(p) for p in path), field]) for field in owner.model_fields]
