"""Which column of a table holds the images and which the labels."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from core.errors import BadInput

IMAGE_COLUMNS = ("img", "image", "images", "picture", "pixel_values")
# CIFAR-100 has a coarse label beside the fine one
LABEL_COLUMNS = ("fine_label", "fine_labels", "label", "labels", "class", "target", "category", "y")

# what images are called; hubs keep the file's name beside its bytes
NAME_COLUMNS = ("file_name", "filename", "file", "name", "path", "image_path", "image_id", "id")
PATH = "path"  # the field of a struct of images


class Columns(NamedTuple):
    """The names of the two columns. nested: encoded images lie in the field `bytes` of a struct. text: to be shown."""

    image: str
    label: str
    nested: bool
    text: str


def columns(schema: Any, shard: Path) -> Columns:
    """The column of images and that of labels: by their names, else the only one of a fitting type.

    Raises BadInput for a table without them, and for one whose columns hold something else.
    """
    image = _chosen(schema, IMAGE_COLUMNS, _encoded)
    label = _chosen(schema, LABEL_COLUMNS, _labelled)
    if image is None or label is None:
        raise BadInput(
            f"{shard} has the columns {', '.join(schema.names)}; expected one of images such as "
            f"{' or '.join(IMAGE_COLUMNS[:2])}, and one of labels such as label or labels"
        )
    kind, labels = schema.field(image).type, schema.field(label).type
    if not _encoded(kind):
        raise BadInput(f"{shard}: the column {image} is {_short(kind)}, expected bytes or a struct with them")
    if not _labelled(labels):
        raise BadInput(
            f"{shard}: the column {label} is {_short(labels)}, expected a number or a word in each row"
        )
    return Columns(
        image, label, pa.types.is_struct(kind), f"image = {image}, label = {label} ({_short(labels)})"
    )


def name_column(schema: Any, shard: Path) -> tuple[str, bool] | None:
    """The column of what images are called; True: in the field `path` of the struct of images. None: there is none."""
    named = next((name for name in NAME_COLUMNS if name in schema.names), None)
    if named is not None and _labelled(schema.field(named).type):
        return named, False
    seen = columns(schema, shard)
    nested = seen.nested and schema.field(seen.image).type.get_field_index(PATH) >= 0
    return (seen.image, True) if nested else None


def _chosen(schema: Any, names: Iterable[str], fits: Callable[[Any], bool]) -> str | None:
    named = next((name for name in names if name in schema.names), None)
    fitting = [field.name for field in schema if fits(field.type)]
    return named or (fitting[0] if len(fitting) == 1 else None)


def _encoded(kind: Any) -> bool:
    """Whether a column can hold encoded images: bytes, or a struct with the field `bytes`."""
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return (
            place >= 0 and _encoded(kind.field(place).type) and not pa.types.is_struct(kind.field(place).type)
        )
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, _is_view)
    return any(test(kind) for test in tests)


def _is_view(kind: Any) -> bool:
    return str(kind) == "binary_view"


def _labelled(kind: Any) -> bool:
    """Whether a column holds one number or word in each row, perhaps by way of a dictionary."""
    if pa.types.is_dictionary(kind):
        return _labelled(kind.value_type)
    tests = (
        pa.types.is_null,  # nothing in it: a table without rows
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
    )
    return any(test(kind) for test in tests) or str(kind) == "string_view"


def _short(kind: Any) -> str:
    text = str(kind)
    return text if len(text) <= 40 else f"{text[:40]}…"
