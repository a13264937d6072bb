"""What nodes at work say of themselves: `running/<key>.json`, replaced every few seconds, gone when they end."""

import re
import time
from collections.abc import Collection
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import BadInput
from tasks.errors import Unavailable
from tasks.store.files import Files

FOLDER = "running"
BEAT, FAR_BEAT = 2.0, 5.0  # seconds between two words of a worker, on a file system and on an object store
SILENT = 60.0  # seconds without a word or a batch after which a person should know
_FILE = re.compile(r"([0-9a-f]{64})\.json")
Whole = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class Running(BaseModel):
    """A node at work. node: in words. epochs: of its whole training, None where it has none. epoch: those behind it.

    images: seen of the epoch at work. per_second: images. left, whole: seconds of what is left of its epochs and
    of all of them; None before there is anything to tell them by. idle: seconds since a batch or an epoch ended.
    facts: what the last epoch said. begun, told: seconds since 1970, by the worker's clock.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    key: str
    node: str
    host: str
    pid: Whole
    begun: Seconds
    told: Seconds
    idle: Seconds
    epoch: Whole = 0
    epochs: Whole | None = None
    images: Whole = 0
    per_second: Seconds | None = None
    left: Seconds | None = None
    whole: Seconds | None = None
    facts: dict[str, float] = Field(default_factory=dict)

    @property
    def silent(self) -> float:
        """Seconds since anything moved, by this machine's clock."""
        return max(0.0, time.time() - self.told) + self.idle

    @property
    def lost(self) -> bool:
        """Whether its worker has said nothing for so long that it will not again."""
        return time.time() - self.told > SILENT


def beat(files: Files) -> float:
    """Seconds between two words of a worker, or two looks at them."""
    return BEAT if files.local else FAR_BEAT


def name_of(key: str) -> str:
    """Where a node's words are."""
    return f"{FOLDER}/{key}.json"


def read_running(files: Files, keys: Collection[str] | None = None) -> dict[str, Running]:
    """What the nodes at work said last, of these keys or of all; what cannot be read is left out, as if unsaid."""
    try:
        found = {match[1] for name in files.names(FOLDER) if (match := _FILE.fullmatch(name))}
        wanted = found if keys is None else found.intersection(keys)
        contents = files.get_many(name_of(key) for key in sorted(wanted))
    except (OSError, Unavailable, BadInput):
        return {}
    read = (_parsed(data) for data in contents.values() if data is not None)
    return {each.key: each for each in read if each is not None and each.key in wanted}


def remove_silent(files: Files) -> None:
    """Removes what killed workers left."""
    for each in read_running(files).values():
        if each.lost:
            files.remove(name_of(each.key))


def _parsed(data: bytes) -> Running | None:
    try:
        return Running.model_validate_json(data)
    except ValidationError:
        return None
