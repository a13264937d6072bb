"""Find a dataset under the data root, and say in one line what to do when it is missing or damaged."""

import os
from pathlib import Path
from typing import Any

from core.data.carved_test import with_test_share
from core.data.catalog import DATASETS, DatasetInfo
from core.data.download import fetch
from core.data.readers import Arrays, Source, plural, unreadable
from core.errors import BadInput

Files = tuple[Path, ...]


def located(info: DatasetInfo, root: Path, download: bool) -> tuple[Source, Files]:
    """The first source that has its files under `root`, and those files.

    With `download` the official files are brought first if nothing is there. Raises BadInput naming the
    files looked for and both ways to get them.
    """
    found = lying(info, root)
    if found is None and download:
        _download(info, root)
        found = lying(info, root)
    if found is None:
        wanted = ", ".join(name for source in info.sources for name in source.wanted())
        raise BadInput(f"{info.name} is not under {root}: looked for {wanted}; {_ways(info)}")
    return found


def identity(
    info: DatasetInfo, source: Source, files: Files, root: Path, test_share: float | None = None
) -> dict[str, Any]:
    """What the decoded arrays depend on, in JSON values: the reader, and names, sizes (bytes), times (ns).

    Raises BadInput for a link that leads nowhere, and for a file that went away.
    """
    stats = [(file.relative_to(root).as_posix(), _stat(file)) for file in files]
    carved = {} if test_share is None else {"test_share": test_share}
    code = DATASETS.digest(info.name) if ":" not in info.name else None
    return (
        carved
        | ({} if code is None else {"entry": code})
        | {
            "name": info.name,
            "classes": info.classes,
            "pixels": info.pixels,
            "source": source.words,
            "reader": f"{type(source).__name__} {source.revision}",
            "files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
        }
    )


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise BadInput(f"{unreadable(file, error)}; bring the file, or remove what leads to it") from error


def decoded(info: DatasetInfo, source: Source, files: Files, test_share: float | None = None) -> Arrays:
    """The arrays in `files`. Raises BadInput naming the file that is damaged and a way to get another."""
    try:
        arrays = source.read(files, info.classes, info.pixels)
    except (BadInput, OSError) as error:
        line = " ".join(str(error).splitlines())  # the decoders' own messages can have several
        raise BadInput(f"{line}; {_mend(source)}") from error
    if not len(arrays.train_labels) or not (len(arrays.test_labels) or source.may_lack_test):
        raise BadInput(f"{files[0]} and its like hold a split without images; {_mend(source)}")
    return _remarked(info, with_test_share(info.name, arrays, test_share))


def _remarked(info: DatasetInfo, arrays: Arrays) -> Arrays:
    """With a remark where a known data set has another number of images than its official split."""
    held, official = (len(arrays.train_labels), len(arrays.test_labels)), (info.train_size, info.test_size)
    if held == official or not any(official):
        return arrays
    said = f"{held[0]:,} training and {plural(held[1], 'test image')}, officially {official[0]:,} and {official[1]:,}"
    return arrays._replace(remarks=(*arrays.remarks, said))


def _mend(source: Source) -> str:
    """The one way out of a damaged file."""
    if source.remotes():
        return "delete it and run again with --set data.download=true"
    return "put it right, or take it out"


def lying(info: DatasetInfo, root: Path) -> tuple[Source, Files] | None:
    """The first source that has its files under `root`, and those files; None if none has."""
    for source in info.sources:
        files = source.find(root)
        if files is not None:
            return source, files
    return None


def _download(info: DatasetInfo, root: Path) -> None:
    for remote in info.downloads:
        try:
            fetch(remote, root)
        except BadInput as error:
            raise BadInput(f"{error}; put {remote.file} under {root} by hand") from error


def _ways(info: DatasetInfo) -> str:
    choices = " or ".join(words for source in info.sources if (words := source.by_hand()))
    network = ", or add --set data.download=true where there is a network" if info.downloads else ""
    return f"put {choices} there by hand{network}"
