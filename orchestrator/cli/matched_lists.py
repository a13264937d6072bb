"""Forget lists of a grid, matched with the images that lie here before anything is planned."""

from collections.abc import Mapping
from pathlib import Path

from core.data import Limit, list_entries, listed_images, spans
from core.errors import BadInput
from orchestrator.environment import data_folders_of
from orchestrator.spec import ForgetList, GridSpec


def with_rows(spec: GridSpec, *, afresh: bool) -> GridSpec:
    """The grid with the rows that its lists name.

    afresh: those that the files name now (`plan`, `run`), where they are there; else those that the grid holds, as far
    as it does. Raises BadInput, one line, for a list that cannot be meant and for two that name the same images.
    """
    if not spec.forget.list:
        return spec
    lists = tuple(_matched(spec, each, afresh=afresh) for each in spec.forget.list)
    _refuse_twice(lists)
    return spec.model_copy(update={"forget": spec.forget.model_copy(update={"list": lists})})


def _matched(spec: GridSpec, each: ForgetList, *, afresh: bool) -> ForgetList:
    root, _ = data_folders_of(spec)
    path = root / each.path  # which an absolute path is alone
    known = all(dataset in each.rows for dataset in spec.datasets)
    if known and not (afresh and path.exists()):
        return each
    try:
        found = {name: _looked_up(spec, name, path) for name in spec.datasets}
    except BadInput as error:
        raise BadInput(f"forget.list={each.name}: {error}") from error
    rows = {name: rows for name, (rows, _) in found.items()}
    remarks = tuple(line for _, lines in found.values() for line in lines)
    return each.model_copy(update={"rows": rows, "remarks": remarks})


def _looked_up(spec: GridSpec, dataset: str, path: Path) -> tuple[str, tuple[str, ...]]:
    root, cache = data_folders_of(spec)
    found = listed_images(
        dataset,
        root,
        cache,
        list_entries(path, spec.forget.column),
        limit=Limit(**spec.data.limit.model_dump()) if spec.data.limit else None,
        download=spec.data.download,
        test_share=spec.data.test_share,
    )
    return spans(found.rows.tolist()), found.remarks


def _refuse_twice(lists: tuple[ForgetList, ...]) -> None:
    seen: dict[str, ForgetList] = {}
    for each in lists:
        first = seen.setdefault(_text(each.rows), each)
        if first is not each:
            raise BadInput(
                f"forget.list: {first.name} and {each.name} name the same images; leave one of them out"
            )


def _text(rows: Mapping[str, str]) -> str:
    return repr(sorted(rows.items()))
