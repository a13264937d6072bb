"""Whole files below a URI: read whole, written whole or not at all, tried again while the storage is away."""

import errno
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from fsspec.implementations.local import LocalFileSystem

from core.checkpoint import write_atomically
from core.errors import BadInput
from tasks.errors import Unavailable
from tasks.store import local
from tasks.store.uri import one_line, open_uri, public

PATIENCE = 60.0  # seconds for which a full disk or a storage that is away is tried again
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# What waiting does not mend: the answer is about the name, not about the storage.
_FINAL = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)

T = TypeVar("T")


class Files:
    """Whole-file reads and atomic whole-file writes below a URI (a folder, or any fsspec address).

    uri: for people, without secrets. address: what opens it again. patience: seconds, None for `PATIENCE`.
    """

    def __init__(self, uri: str, patience: float | None = None) -> None:
        self.fs, root = open_uri(uri)
        self.root = str(PurePosixPath(root))
        self.uri, self.address, self.patience = public(uri), uri, patience
        self.local = isinstance(self.fs, LocalFileSystem)

    def path(self, name: str) -> str:
        """The full path of a name inside the store; BadInput for a name that leads out of it."""
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            raise BadInput(f"store {self.uri}: {name!r:.80} leads out of it")
        return self.root if name in ("", ".") else f"{self.root.rstrip('/')}/{name}"

    def put(self, name: str, data: bytes) -> None:
        """Writes a file so that readers see all of it or nothing (object stores do so by themselves).

        Waits for a full disk or a storage that is away; raises Unavailable when patience is over.
        """
        path = self.path(name)
        try:
            if self.local:
                self._patiently(lambda: local.write_file(self.root, path, data))
            else:
                self._patiently(lambda: self.fs.pipe_file(path, data))
        except _FINAL as error:  # a file in the place of the store's own folder, say
            raise Unavailable(f"store {self.uri}: {name}: {one_line(error, self.address)}") from error

    def create(self, name: str, data: bytes) -> bool:
        """Writes a file that is not there yet; False if there is one. Of several writers at once, one wins.

        On an object store without conditional writes the last one wins instead.
        """
        path = self.path(name)
        if self.exists(name):
            return False
        try:
            if self.local:
                self._patiently(lambda: _link_atomically(Path(path), data))
            else:
                self._patiently(lambda: self.fs.pipe_file(path, data, mode="create"))
        except FileExistsError:
            return False
        except (NotImplementedError, ValueError):  # a driver that only overwrites
            self.put(name, data)
        return True

    def get(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError if there is none, Unavailable if the storage does not answer."""
        data = self.find(name)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, "no such file in the store", name)
        return data

    def find(self, name: str) -> bytes | None:
        """A file's bytes, None if there is none."""
        return self.get_many([name])[name]

    def get_many(self, names: Iterable[str]) -> dict[str, bytes | None]:
        """The bytes of several files, None for those that are not there; one round trip on object stores."""
        paths = {name: self.path(name) for name in names}
        if self.local:
            read = partial(local.read_file, self.root)
            return {name: self._patiently(partial(read, path)) for name, path in paths.items()}
        found = self._patiently(lambda: self._cat(list(paths.values())))
        return {name: found.get(path) for name, path in paths.items()}

    def _cat(self, paths: list[str]) -> dict[str, bytes | None]:
        found = self.fs.cat(paths, on_error="return") if paths else {}
        for answer in found.values():
            if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                raise answer
        return {path: answer if isinstance(answer, bytes) else None for path, answer in found.items()}

    def names(self, folder: str) -> list[str]:
        """File names directly in a folder of the store, unfinished writes left out."""
        path = self.path(folder)
        if self.local and local.behind_link(self.root, f"{path}/"):
            return []
        # fsspec looks at every file of a folder, if only for its name
        ls = partial(os.listdir, path) if self.local else partial(self.fs.ls, path, detail=False)
        try:
            found: list[str] = self._patiently(ls)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (path.rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if not name.startswith("."))

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder, or a link of whatever kind."""
        path = self.path(name)
        if self.local:
            return os.path.lexists(path)
        return bool(self._patiently(lambda: self.fs.exists(path)))

    def is_link(self, name: str) -> bool:
        """Whether a name is a link; object stores have none."""
        return self.local and Path(self.path(name)).is_symlink()

    def remove(self, name: str) -> None:
        """Removes a file or folder if it is there."""
        path = self.path(name)
        if self.local:
            self._patiently(lambda: local.remove(self.root, path))
            return

        def gone() -> None:
            while self.fs.exists(path):
                with suppress(FileNotFoundError):  # another driver removes it too: look again
                    self.fs.rm(path, recursive=True)
                    return

        self._patiently(gone)

    def remove_files(self, names: Iterable[str]) -> None:
        """Removes files that are there; a few round trips for thousands on object stores."""
        paths = [self.path(name) for name in names]
        if self.local:
            for path in paths:
                self._patiently(partial(local.remove, self.root, path))
        elif paths:
            with suppress(FileNotFoundError):
                self._patiently(lambda: self.fs.rm(paths))

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file below a folder, by its name in there, in one listing."""
        root = self.path(folder)
        if self.local:
            found_here: dict[str, int] = self._patiently(lambda: local.sizes(root))
            return found_here
        try:
            found = self._patiently(lambda: self.fs.find(root, detail=True))
        except FileNotFoundError:
            return {}
        start = len(root) + 1
        return {path[start:]: int(info["size"]) for path, info in found.items()}

    def move(self, name: str, to: str) -> None:
        """Moves a file, or a folder with all that is in it; what is in the way is replaced."""
        source, target = self.path(name), self.path(to)
        if self.local:
            self._patiently(lambda: local.move(self.root, source, target))
            return
        for path in self._patiently(lambda: self.fs.find(source)):
            self._patiently(partial(self.fs.mv, path, target + path[len(source) :]))

    def set_aside(self, name: str) -> None:
        """Moves a file, a folder or a link to quarantine/, in the place of an earlier one of its name."""
        if self.exists(name):
            self.remove(f"quarantine/{name}")
            self.move(name, f"quarantine/{name}")

    def check_readable(self) -> None:
        """Raises BadInput if the storage does not answer, or not to us."""
        try:
            with _as_os_errors():
                self.fs.ls(self.root, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            reason = one_line(error, self.address)
            raise BadInput(
                f"store {self.uri} cannot be read ({reason}); choose another with --store"
            ) from error

    def check_writable(self) -> None:
        """Raises BadInput if nothing can be written here; does not wait."""
        probe = Files(self.address, patience=0.0)
        name = f"probe-{uuid.uuid4().hex[:8]}"
        try:
            probe.put(name, bytes(4096))  # an empty file fits on a full disk
            probe.remove(name)
        except OSError as error:
            cause = error.__cause__ if isinstance(error, Unavailable) and error.__cause__ else error
            reason = one_line(cause, self.address)
            raise BadInput(
                f"store {self.uri} cannot be written ({reason}); choose another with --store"
            ) from error

    def _patiently(self, work: Callable[[], T]) -> T:
        """Does the work, again and again with growing pauses while the storage fails."""
        patience = PATIENCE if self.patience is None else self.patience
        end, pause = time.monotonic() + patience, _PAUSE
        while True:
            try:
                with _as_os_errors():
                    return work()
            except _FINAL:
                raise
            except OSError as error:
                left = end - time.monotonic()
                if left <= 0:
                    tried = f", tried for {patience:g} s" if patience else ""
                    reason = one_line(error, self.address)
                    raise Unavailable(f"store {self.uri}: {reason}{tried}") from error
                time.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Errors that only an object store's own package knows (no login, no connection) become OSError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or type(error).__module__ == "builtins":
            raise
        raise OSError(str(error)) from error


def _link_atomically(path: Path, data: bytes) -> None:
    """`write_atomically` for a file that must not exist yet: FileExistsError if it does."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    write_atomically(temporary, data)
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
        with path.open("xb") as file:  # a file system without hard links
            file.write(data)
    finally:
        temporary.unlink(missing_ok=True)
