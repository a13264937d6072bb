"""Files of weights that networks start from: a grid names where they lie, its keys hold their SHA-256.

So a result depends on the file and not on its place, and a grid can be planned and reported without it.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from core.errors import BadInput
from core.models import file_digest
from orchestrator.spec.fields import Part


class PlacedFile(Part):
    """path: absolute, the same on every worker. sha256: of the file, 64 hex digits."""

    path: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _with_digest(value: Any) -> Any:
    """A path stands for the file that lies there now; where only workers have it, its digest comes beside it."""
    given = {"path": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("path"), str):
        return value
    try:
        path = Path(given["path"]).expanduser().absolute()
    except RuntimeError as error:
        raise BadInput(f"{given['path']}: there is no such home folder; write the whole path") from error
    return {"sha256": _digest(path), **given, "path": str(path)} if "sha256" not in given else given


def _digest(path: Path) -> str:
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device may have no end
        raise BadInput(f"{path} is no file of weights; name one such as resnet18.safetensors")
    try:
        return file_digest(path)
    except BadInput as error:
        raise BadInput(f'{error}; where only the workers have it, give {{"path": …, "sha256": …}}') from error


WeightsFile = Annotated[PlacedFile, BeforeValidator(_with_digest)]
