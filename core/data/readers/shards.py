"""Where the Parquet shards of a data set lie after a plain download, and which of them are for training."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.data.readers.picture_list import TESTS, TRAIN
from core.data.readers.source import unreadable
from core.errors import BadInput

FIRST = ("data", "plain_text")  # the hubs' usual folders, before any other


def places(root: Path, name: str) -> Iterator[Path]:
    """The folders that may hold shards: `<root>/<name>/`, those in it, and a root of that name."""
    own = (root,) if root.resolve().name == name else ()
    for base in (root / name, *own):
        yield base
        yield from _below(base)


def _below(base: Path) -> list[Path]:
    try:
        inside = [path for path in base.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(base, error) from error
    return sorted(inside, key=lambda path: (path.name not in FIRST, path.name))


def split_shards(folder: Path) -> tuple[list[Path], list[Path]]:
    """The training and the test shards in a folder; the test split is the first one that is there."""
    tests = (_of(folder, name) for name in TESTS)
    return _of(folder, TRAIN), next(filter(None, tests), [])


def _of(folder: Path, split: str) -> list[Path]:
    """`train-….parquet`, else `train.parquet`, else what lies in `train/`."""
    for pattern in (f"{split}-*.parquet", f"{split}.parquet", f"{split}/*.parquet"):
        shards = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
        if shards:
            return shards
    return []


def trains(shard: Path) -> bool:
    """Whether a shard is one for training: its own name says it, else its folder's."""
    own = shard.stem.partition("-")[0]
    return (own if own in (TRAIN, *TESTS) else shard.parent.name) == TRAIN


def check_complete(shards: Sequence[Path]) -> None:
    """A name ending in -00001-of-00003 promises that there are three."""
    for shard in shards:
        promised = re.search(r"-of-(\d+)", shard.name)
        if promised and int(promised[1]) != len(shards):
            raise BadInput(f"{shard} is one of {int(promised[1])} shards, but {len(shards)} are there")
