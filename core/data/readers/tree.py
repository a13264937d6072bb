"""A published folder of images, unpacked or still in its .zip, read through the same three questions."""

from collections import defaultdict
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Protocol
from zipfile import ZipFile

from core.data.readers.source import blob, unpublished
from core.errors import BadInput


class Tree(Protocol):
    """Files by their name below the published folder, with forward slashes. remarks: what a person should know."""

    remarks: tuple[str, ...]

    def where(self, name: str) -> str:
        """What to call the file in a message."""

    def read(self, name: str) -> bytes:
        """Its bytes. Raises BadInput if it is missing or damaged."""

    def images(self, folder: str) -> list[str]:
        """The names of the .JPEG files directly in `folder`, sorted."""


class FolderTree:
    """The unpacked folder `base`."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.remarks: tuple[str, ...] = ()

    def where(self, name: str) -> str:
        """Its path."""
        return str(self._base / name)

    def read(self, name: str) -> bytes:
        """Its bytes. Raises BadInput."""
        return blob(self._base / name)

    def images(self, folder: str) -> list[str]:
        """Sorted names."""
        return sorted(f"{folder}/{path.name}" for path in (self._base / folder).glob("*.JPEG"))


class ZipTree:
    """The folder `inside` an archive, which is compared with `md5` and held in memory, never unpacked."""

    def __init__(self, archive: Path, inside: str, md5: str) -> None:
        self._archive, self._inside = archive, inside
        data = blob(archive)
        self.remarks = unpublished(data, md5, archive)
        try:
            self._zip = ZipFile(BytesIO(data))
        except Exception as error:  # BadZipFile, struct.error, NotImplementedError …
            raise BadInput(f"{archive} is not a readable .zip ({error})") from error
        self._folders: defaultdict[str, list[str]] = defaultdict(list)
        for path in map(PurePosixPath, self._zip.namelist()):
            if path.suffix == ".JPEG" and path.is_relative_to(inside):
                name = path.relative_to(inside)
                self._folders[str(name.parent)].append(str(name))

    def where(self, name: str) -> str:
        """The archive and the member."""
        return f"{self._archive} member {self._inside}/{name}"

    def read(self, name: str) -> bytes:
        """Its bytes. Raises BadInput."""
        try:
            return self._zip.read(f"{self._inside}/{name}")
        except Exception as error:  # KeyError, BadZipFile, zlib.error …
            raise BadInput(f"{self.where(name)} cannot be read ({error})") from error

    def images(self, folder: str) -> list[str]:
        """Sorted names."""
        return sorted(self._folders[folder])
