"""Find a dataset under the data root, and say in one line what to do when it is missing or damaged."""

from pathlib import Path
from typing import Any

from core.data.catalog import DatasetInfo
from core.data.download import fetch
from core.data.readers import Arrays, Source
from core.errors import BadInput

Files = tuple[Path, ...]


def located(info: DatasetInfo, root: Path, download: bool) -> tuple[Source, Files]:
    """The first source that has its files under `root`, and those files.

    With `download` the official files are brought first if nothing is there. Raises BadInput naming the
    files looked for and both ways to get them.
    """
    found = _first(info, root)
    if found is None and download:
        _download(info, root)
        found = _first(info, root)
    if found is None:
        wanted = ", ".join(name for source in info.sources for name in source.wanted())
        raise BadInput(f"{info.name} is not under {root}: looked for {wanted}; {_ways(info)}")
    return found


def identity(info: DatasetInfo, source: Source, files: Files, root: Path) -> dict[str, Any]:
    """What the decoded arrays depend on, in JSON values: the reader, and names, sizes (bytes), times (ns)."""
    stats = [(file.relative_to(root).as_posix(), file.stat()) for file in files]
    return {
        "name": info.name,
        "classes": info.classes,
        "pixels": info.pixels,
        "source": source.words,
        "reader": f"{type(source).__name__} {source.revision}",
        "files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
    }


def decoded(info: DatasetInfo, source: Source, files: Files) -> Arrays:
    """The arrays in `files`. Raises BadInput naming the file that is damaged and both ways to get another."""
    try:
        arrays = source.read(files, info.classes, info.pixels)
        if not len(arrays.train_labels) or not len(arrays.test_labels):
            raise BadInput(f"{', '.join(map(str, files))}: a split without images")
    except (BadInput, OSError) as error:
        line = " ".join(str(error).splitlines())  # the decoders' own messages can have several
        raise BadInput(f"{line}; delete what is damaged, then {_ways(info)}") from error
    return arrays


def _first(info: DatasetInfo, root: Path) -> tuple[Source, Files] | None:
    for source in info.sources:
        files = source.find(root)
        if files is not None:
            return source, files
    return None


def _download(info: DatasetInfo, root: Path) -> None:
    try:
        for remote in info.downloads:
            fetch(remote, root)
    except BadInput as error:
        raise BadInput(f"{error}; {_ways(info)}") from error


def _ways(info: DatasetInfo) -> str:
    choices = " or ".join(words for source in info.sources if (words := source.by_hand()))
    network = ", or add --set data.download=true where there is a network" if info.downloads else ""
    return f"put {choices} there by hand{network}"
