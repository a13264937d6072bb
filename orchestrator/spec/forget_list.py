"""Lists of images to forget: a grid names the files, and once they are matched holds the rows of its data sets.

So a result depends on what a list names and not on its place, and a grid can be planned and reported without the file.
"""

from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from core.errors import BadInput
from orchestrator.spec.fields import Part, Text, listed


def _ascending(text: str) -> str:
    """Rows as `core.data.spans` writes them, so that the same images have the same keys."""
    ends = [int(end) for part in text.split(",") for end in (part.split("-") * 2)[:2]]
    gaps = (after - before for before, after in pairwise(ends[1:-1]))
    first_to_last = all(first <= last for first, last in zip(ends[::2], ends[1::2], strict=True))
    if not first_to_last or any(gap < 2 for gap in islice(gaps, 0, None, 2)):
        raise BadInput(f"rows {text:.40}: write each row once and ascending, such as 0-4,17")
    return text


Rows = Annotated[
    str, Field(pattern=r"^\d{1,8}(-\d{1,8})?(,\d{1,8}(-\d{1,8})?)*$"), AfterValidator(_ascending)
]


class ForgetList(Part):
    """path: of the file; absolute, unless it lies below the data root. name: what the list is called.

    rows: by data set, those of its training images, such as `0-4,17`; found out where the images lie.
    remarks: what a person should know of the list, a line each.
    """

    path: Text
    name: Text = ""
    rows: dict[str, Rows] = Field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def _placed(value: Any) -> Any:
    """Paths as they are found from any folder later on."""
    given = listed(value)
    return [_from_path(each) for each in given] if isinstance(given, tuple | list) else given


def _from_path(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    path = Path(value).expanduser()
    return {"path": str(path.absolute() if path.exists() else path)}


def _named(lists: tuple[ForgetList, ...]) -> tuple[ForgetList, ...]:
    """Every list once, with a name of its own: the file's, with as many folders in front as tell it from the others."""
    once = {each.path: each for each in lists}
    names = _short_names(list(once))
    return tuple(
        each.model_copy(update={"name": name}) for each, name in zip(once.values(), names, strict=True)
    )


def _short_names(paths: Sequence[str]) -> list[str]:
    parts = [Path(path).parts for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


class ForgetSpec(Part):
    """list: files that name the images to forget, each a problem of its own; see `core.data.list_matching`.

    column: of tables (.csv, .parquet), where it is not one of the usual names.
    """

    list: Annotated[tuple[ForgetList, ...], BeforeValidator(_placed), AfterValidator(_named)] = ()
    column: Text | None = None

    def rows(self, dataset: str) -> dict[str, str]:
        """The rows of a data set that each list names, by the list's name. BadInput before they are known."""
        return {each.name: _rows(each, dataset) for each in self.list}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of the lists, a line each."""
        return tuple(f"{each.name}: {line}" for each in self.list for line in each.remarks)


def _rows(each: ForgetList, dataset: str) -> str:
    if dataset not in each.rows:
        raise BadInput(f"forget.list={each.path}: nobody has looked yet which images of {dataset} it names")
    return each.rows[dataset]
